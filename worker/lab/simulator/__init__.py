"""A stand-in for the AWS Marketplace metering endpoint, independent of the worker.

It speaks AWS JSON 1.1 and verifies Signature Version 4 for real, so that a client is tested
against the protocol and not against its own understanding of it. For that reason nothing here
imports the rest of `worker`.
"""
