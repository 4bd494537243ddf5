"""AWS's ResolveCustomer through aiobotocore."""

from worker.adapters.marketplace.client import AwsMarketplace, Endpoint, open_marketplace

__all__ = ["AwsMarketplace", "Endpoint", "open_marketplace"]
