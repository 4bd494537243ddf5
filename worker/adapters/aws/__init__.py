"""AWS's ResolveCustomer through aiobotocore."""

from worker.adapters.aws.client import (
    AwsMarketplace,
    BadAwsSetup,
    Endpoint,
    open_marketplace,
)

__all__ = ["AwsMarketplace", "BadAwsSetup", "Endpoint", "open_marketplace"]
