"""Asks resolution-worker who a buyer from AWS Marketplace is, and loses no answer.

`Resolver` for asyncio, `resolution_client.blocking.Resolver` for threads,
`resolution_client.testing.FakeResolver` for your tests.
"""

from resolution_client.answers import Answer, Failed, Outcome, Pending, Rejected, Resolved
from resolution_client.errors import BadToken, Closed, NotPublished, ResolverError
from resolution_client.network import network_of
from resolution_client.observer import Observer
from resolution_client.resolver import Resolver
from resolution_client.state import WorkerState

__version__ = "1.0.0"

__all__ = [
    "Answer",
    "BadToken",
    "Closed",
    "Failed",
    "NotPublished",
    "Observer",
    "Outcome",
    "Pending",
    "Rejected",
    "Resolved",
    "Resolver",
    "ResolverError",
    "WorkerState",
    "network_of",
]
