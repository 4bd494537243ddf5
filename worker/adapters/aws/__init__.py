"""AWS's ResolveCustomer through aiobotocore."""

from worker.adapters.aws.client import AwsMarketplace
from worker.adapters.aws.endpoint import Endpoint
from worker.adapters.aws.opening import BadAwsSetup, open_marketplace

__all__ = ["AwsMarketplace", "BadAwsSetup", "Endpoint", "open_marketplace"]
