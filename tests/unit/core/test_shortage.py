"""Descriptors and memory of our own that are used up: nobody else is blamed, and no token pays."""

from __future__ import annotations

import errno
import os
import resource
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.fakes.aws import raw_aws, reply
from worker.adapters.aws import Endpoint, open_marketplace
from worker.adapters.postgres.errors import translate
from worker.adapters.rabbitmq.connect_errors import opening_fault
from worker.adapters.shortages import shortage_behind
from worker.cli.run import _descriptors
from worker.core import aws_causes, aws_errors
from worker.core.addresses.amqp import read
from worker.core.records import Answer, Fault, FaultKind, Token
from worker.core.shortage import ALL, DESCRIPTORS, Shortage
from worker.core.token.verdict import counts

if TYPE_CHECKING:
    from collections.abc import Iterator

SHORT = [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS]
SOUND = {"ProductCode": "p", "CustomerAWSAccountId": "012345678901"}


@contextmanager
def no_descriptors() -> Iterator[None]:
    """While the block lasts this process can open nothing more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "metering.example"])
async def test_a_call_without_a_descriptor_is_our_fault(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """A call that finds no descriptor uses up no attempt, and says what is used up."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "simulator")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "simulator")
    monkeypatch.setenv("NO_PROXY", "*")
    async with raw_aws(reply(200, SOUND)) as aws:
        url = aws.url.replace("127.0.0.1", host)
        endpoint = Endpoint("eu-west-1", url, None, None, 5.0, 4)
        async with open_marketplace(endpoint) as client:
            assert await client.check_identity() is None
            with no_descriptors():
                found = await client.resolve(Token.of("t"))
            if host == "127.0.0.1":
                assert isinstance(await client.resolve(Token.of("t")), Answer)
    assert isinstance(found, Fault)
    assert (found.kind, found.code) == (FaultKind.SYSTEMIC, "DescriptorsUsedUp")
    assert "file descriptors are used up" in found.message
    assert not counts(found)
    assert aws_errors.is_shortage(found)


@pytest.mark.parametrize("number", SHORT)
def test_neither_database_nor_broker_is_blamed(number: int) -> None:
    """What we have run out of is named with its own remedy, and no address is doubted."""
    error = OSError(number, os.strerror(number))
    found = shortage_behind(error)
    assert found is not None
    for said in (str(translate(error)), opening_fault(error, read("amqp://localhost"))):
        assert found.what in said
        assert found.remedy in said
        assert os.strerror(number) in said
        assert "DSN" not in said


def test_a_shortage_behind_an_error_is_found() -> None:
    """Libraries wrap what the system says; a failed look-up of a name says nothing."""
    outer = RuntimeError("wrapped")
    outer.__cause__ = OSError(errno.EMFILE, "Too many open files")
    assert shortage_behind(outer) is DESCRIPTORS
    unknown = socket.gaierror(-2, "Name or service not known")
    assert shortage_behind(unknown) is None
    with no_descriptors():
        assert shortage_behind(unknown) is DESCRIPTORS


@pytest.mark.parametrize("shortage", ALL)
def test_a_remedy_is_told(shortage: Shortage) -> None:
    """The breaker's remedy for a shortage is the shortage's own."""
    assert aws_causes.of_systemic(shortage.code, "Too many open files").remedy == shortage.remedy


def test_a_refused_connection_is_no_shortage() -> None:
    """All else stays what it was."""
    assert shortage_behind(ConnectionRefusedError(errno.ECONNREFUSED, "refused")) is None


def test_the_soft_limit_is_raised() -> None:
    """`run` takes as many descriptors as it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        assert _descriptors() == resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 256
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
