"""Proxies and network faults that keep every call from AWS, over real sockets."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from harness import network_faults
from harness.network_faults import LOGIN, PASSWORD, NetworkFaults
from tests.unit.adapters.aws.test_aws_client import TOKEN, marketplace
from tests.unit.adapters.aws.test_aws_client import seller as _seller  # noqa: F401 - a fixture
from worker.core import aws_causes
from worker.core.records import Fault, FaultKind
from worker.core.token import verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FAR = "https://metering.invalid"  # a name that nobody has
FAR_PLAIN = "http://metering.invalid"


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that keeps calls from AWS.

    Attributes:
        name: What it is.
        make: Makes it; returns the endpoint's address and what the environment says.
        code: The fault's code.
        words: What its message names.
        seconds: Time limit of a call: generous where the fault shows before it is over.
    """

    name: str
    make: Callable[[NetworkFaults], tuple[str, dict[str, str]]]
    code: str
    words: tuple[str, ...]
    seconds: float = 20.0


def _proxy(port: int, far: str = FAR, host: str = "127.0.0.1") -> tuple[str, dict[str, str]]:
    variable = "HTTPS_PROXY" if far.startswith("https") else "HTTP_PROXY"
    return far, {variable: f"http://{LOGIN}@{host}:{port}"}


def _tls(
    way: NetworkFaults, name: str, *, days: int = 1, trusted: bool = True, far: bool = False
) -> tuple[str, dict[str, str]]:
    certificate = way.certificate(name, days=days)
    port = way.tls(certificate)
    trust = {"AWS_CA_BUNDLE": certificate} if trusted else {}
    if not far:
        return f"https://127.0.0.1:{port}", trust
    url, proxy = _proxy(way.tunnel(port))
    return url, proxy | trust


_OURS = "WORKER_AWS__ENDPOINT_URL"
CASES = (
    Case("no such name", lambda _: (FAR, {}), "NameNotResolved", ("metering.invalid", _OURS)),
    Case(
        "refused",
        lambda way: (f"http://127.0.0.1:{way.closed()}", {}),
        "NotConnected",
        ("127.0.0.1:", "connection refused", _OURS),
    ),
    Case(
        "silent before TLS",
        lambda way: (f"https://127.0.0.1:{way.silent()}", {}),
        "NotConnected",
        ("in time", "TLS"),
        seconds=1.0,
    ),
    Case(
        "no TLS there",
        lambda way: (f"https://127.0.0.1:{way.saying(network_faults.FORBIDDEN)}", {}),
        "TlsFailed",
        ("TLS handshake with 127.0.0.1:", _OURS),
    ),
    Case(
        "hangs up before TLS",
        lambda way: (f"https://127.0.0.1:{way.saying(network_faults.NOTHING)}", {}),
        "NotConnected|TlsFailed",
        ("127.0.0.1:", _OURS),
    ),
    Case(
        "a certificate of nobody",
        lambda way: _tls(way, "IP:127.0.0.1", trusted=False),
        "CertificateNotTrusted",
        ("self-signed", _OURS),
    ),
    Case(
        "a certificate of another host",
        lambda way: _tls(way, "DNS:other.example"),
        "CertificateOfAnotherHost",
        ("127.0.0.1", _OURS),
    ),
    Case(
        "a certificate of yesterday",
        lambda way: _tls(way, "IP:127.0.0.1", days=-1),
        "CertificateOutOfDate",
        ("expired", _OURS),
    ),
    Case(
        "a certificate of another host behind a proxy",
        lambda way: _tls(way, "DNS:other.example", far=True),
        "CertificateOfAnotherHost",
        ("metering.invalid:443, through the proxy 127.0.0.1:", "HTTPS_PROXY"),
    ),
    Case(
        "a certificate of nobody behind a proxy",
        lambda way: _tls(way, "DNS:metering.invalid", trusted=False, far=True),
        "CertificateNotTrusted",
        ("through the proxy", "HTTPS_PROXY"),
    ),
    Case(
        "no such proxy",
        lambda _: _proxy(3128, host="proxy.invalid"),
        "NameNotResolved",
        ("proxy.invalid", "HTTPS_PROXY"),
    ),
    Case(
        "a proxy that is not there",
        lambda way: _proxy(way.closed()),
        "NotConnected",
        ("the proxy 127.0.0.1:", "connection refused", "HTTPS_PROXY"),
    ),
    Case(
        "a silent proxy",
        lambda way: _proxy(way.silent()),
        "NotConnected",
        ("through the proxy 127.0.0.1:", "in time", "HTTPS_PROXY"),
        seconds=1.0,
    ),
    Case(
        "a proxy that wants another password",
        lambda way: _proxy(way.saying(network_faults.LOGIN_REFUSED)),
        "ProxyLoginRefused",
        ("the proxy 127.0.0.1:", "407", "HTTPS_PROXY"),
    ),
    Case(
        "a proxy that does not allow the host",
        lambda way: _proxy(way.saying(network_faults.FORBIDDEN)),
        "ProxyRefuses",
        ("does not connect to metering.invalid:443", "403", "HTTPS_PROXY"),
    ),
    Case(
        "a proxy that can't reach the host",
        lambda way: _proxy(way.saying(network_faults.BAD_GATEWAY)),
        "ProxyRefuses",
        ("503", "HTTPS_PROXY"),
    ),
    Case(
        "a SOCKS proxy",
        lambda way: _proxy(way.saying(network_faults.SOCKS)),
        "NoHttpProxy",
        ("the proxy 127.0.0.1:", "HTTPS_PROXY"),
    ),
    Case(
        "a proxy that hangs up",
        lambda way: _proxy(way.saying(network_faults.NOTHING)),
        "NoHttpProxy",
        ("closed the connection", "HTTPS_PROXY"),
    ),
    Case(
        "a proxy that wants another password for a plain request",
        lambda way: _proxy(way.saying(network_faults.LOGIN_REFUSED), FAR_PLAIN),
        "ProxyLoginRefused",
        ("407", "HTTP_PROXY"),
    ),
    Case(
        "a proxy that does not allow a plain request",
        lambda way: _proxy(way.saying(network_faults.FORBIDDEN), FAR_PLAIN),
        "ProxyRefuses",
        ("403", "HTTP_PROXY"),
    ),
    Case(
        "a SOCKS proxy for a plain request",
        lambda way: _proxy(way.saying(network_faults.SOCKS), FAR_PLAIN),
        "NoHttpProxy",
        ("HTTP_PROXY",),
    ),
    Case(
        "a plain proxy that is not there",
        lambda way: _proxy(way.closed(), FAR_PLAIN),
        "NotConnected",
        ("the proxy 127.0.0.1:", "HTTP_PROXY"),
    ),
)  # fmt: skip


@pytest.fixture
def way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NetworkFaults]:
    """NetworkFaults, and no exception from proxies."""
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with NetworkFaults(tmp_path) as made:
        yield made


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_what_keeps_calls_from_aws_is_ours(
    case: Case, way: NetworkFaults, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was sent: no attempt is used up, and calls, probes and looks tell the same."""
    url, environment = case.make(way)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    async with marketplace(url, timeout_seconds=case.seconds) as client:
        found = [await client.resolve(TOKEN), await client.probe(), await client.reach()]

    for fault in found:
        assert isinstance(fault, Fault), fault
        assert fault == found[0]
        assert (fault.kind, fault.sent) == (FaultKind.SYSTEMIC, False), fault
        assert fault.code in case.code.split("|"), fault
        for words in (*case.words, "comes from"):
            assert words in fault.message, fault
        assert not verdict.counts(fault)
        remedy = aws_causes.of_systemic(fault.code, fault.message).remedy
        assert PASSWORD not in f"{fault.message} {remedy}"
        assert "defect" not in remedy


STS_CASES = (
    Case("no name", lambda _: ("https://sts.invalid", {}), "NameNotResolved", ("sts.invalid",)),
    Case(
        "refused",
        lambda way: (f"https://127.0.0.1:{way.closed()}", {}),
        "NotConnected",
        ("127.0.0.1:", "connection refused"),
    ),
    Case(
        "a certificate of nobody",
        lambda way: _tls(way, "IP:127.0.0.1", trusted=False),
        "CertificateNotTrusted",
        ("self-signed",),
    ),
    Case(
        "a proxy that is not there",
        lambda way: _proxy(way.closed(), "https://sts.invalid"),
        "NotConnected",
        ("the proxy 127.0.0.1:", "HTTPS_PROXY"),
    ),
    Case(
        "a proxy that wants another password",
        lambda way: _proxy(way.saying(network_faults.LOGIN_REFUSED), "https://sts.invalid"),
        "ProxyLoginRefused",
        ("407", "HTTPS_PROXY"),
    ),
    Case(
        "a SOCKS proxy",
        lambda way: _proxy(way.saying(network_faults.SOCKS), "https://sts.invalid"),
        "NoHttpProxy",
        ("HTTPS_PROXY",),
    ),
)  # fmt: skip


@pytest.mark.parametrize("case", STS_CASES, ids=lambda case: case.name)
async def test_what_keeps_us_from_sts_is_told_alike(
    case: Case, way: NetworkFaults, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A role that can't be assumed because STS is out of reach is named in the same words."""
    url, environment = case.make(way)
    for name, value in (environment | {"AWS_ENDPOINT_URL_STS": url}).items():
        monkeypatch.setenv(name, value)
    role = "arn:aws:iam::123456789012:role/seller"
    async with marketplace("http://127.0.0.1:9", role_arn=role) as client:
        fault = await client.check_identity()

    assert isinstance(fault, Fault)
    assert (fault.code, fault.sent) == (case.code, False), fault
    for words in case.words:
        assert words in fault.message
    assert PASSWORD not in fault.message


@pytest.mark.parametrize("far", [FAR, FAR_PLAIN])
async def test_a_proxy_is_told_its_user_and_password(
    far: str, way: NetworkFaults, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Percent-encoded user and password are sent to the proxy, and to nobody else."""
    port = way.saying(network_faults.FORBIDDEN)
    variable = "HTTPS_PROXY" if far == FAR else "HTTP_PROXY"
    monkeypatch.setenv(variable, f"http://svc%40corp:p%2Fw@127.0.0.1:{port}")
    async with marketplace(far) as client:
        assert isinstance(await client.resolve(TOKEN), Fault)
    expected = base64.b64encode(b"svc@corp:p/w").decode()
    (request,) = way.received
    assert f"Proxy-Authorization: Basic {expected}" in request.decode()


async def test_once_connected_a_lost_answer_counts(way: NetworkFaults) -> None:
    """What was sent may have been taken: such a call counts, and the endpoint was reached."""
    async with marketplace(f"http://127.0.0.1:{way.saying(network_faults.NOTHING)}") as client:
        fault = await client.resolve(TOKEN)
        assert await client.reach() is None
    assert isinstance(fault, Fault)
    assert (fault.code, fault.sent) == ("ConnectionFault", True)
    assert verdict.counts(fault)
