"""A stand-in for the AWS Marketplace metering endpoint, independent of the worker."""
