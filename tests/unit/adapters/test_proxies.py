"""Which proxy the environment names for an address, and which are refused."""

from __future__ import annotations

import pytest

from worker.adapters import environment
from worker.adapters.proxies import BadProxy, proxy_of

AWS = "https://metering.marketplace.us-east-1.amazonaws.com"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize(
    ("value", "host", "port", "login"),
    [
        ("http://proxy.example:3128", "proxy.example", 3128, None),
        ("http://proxy.example:3128/", "proxy.example", 3128, None),
        ("HTTP://proxy.example", "proxy.example", 80, None),
        ("https://proxy.example", "proxy.example", 443, None),
        ("proxy.example:3128", "proxy.example", 3128, None),
        ("//proxy.example:3128", "proxy.example", 3128, None),
        ("http://[::1]:3128", "::1", 3128, None),
        ("http://u:p%40w%2F@10.0.0.1:3128", "10.0.0.1", 3128, ("u", "p@w/")),
        ("http://only@10.0.0.1", "10.0.0.1", 80, ("only", "")),
        (" http://proxy.example:3128 ", "proxy.example", 3128, None),
    ],
)
def test_a_proxy_is_read(
    monkeypatch: pytest.MonkeyPatch,
    value: str,
    host: str,
    port: int,
    login: tuple[str, str] | None,
) -> None:
    """Host, port and percent-decoded login; neither its text nor its URL shows the password."""
    monkeypatch.setenv("HTTPS_PROXY", value)
    proxy = proxy_of(AWS)
    assert proxy is not None
    assert (proxy.host, proxy.port, proxy.login, proxy.named_by) == (
        host,
        port,
        login,
        "HTTPS_PROXY",
    )
    assert "p@w" not in f"{proxy!r} {proxy.url}"
    assert proxy_of("http://example.com") is None


@pytest.mark.parametrize(
    "value",
    [
        "socks5://u:hidden-one@proxy.example:1080",
        "socks4://proxy.example",
        "ftp://proxy.example",
        "http://u:hidden-one/x@proxy.example:3128",
        "http://u:hidden-one#x@proxy.example:3128",
        "http://u:hidden-one?x@proxy.example:3128",
        "http://u:hidden-one@x@proxy.example:3128",
        "http://u:hidden-one@proxy.example:port",
        "http://u:hidden-one@proxy.example:70000",
        "http://u:hidden-one@",
        "http://u:hidden-one\u20ac@proxy.example",
        "http://u:hidden-one%FF@proxy.example",
        "http://" + "x" * 70 + ".example",
        "http://[::1",
    ],
)
def test_what_is_no_http_proxy_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """By the variable's name, with what is accepted, and without quoting any of it."""
    monkeypatch.setenv("https_proxy", value)
    with pytest.raises(BadProxy, match=r"^https_proxy .+\(accepted: http://host:port") as refused:
        proxy_of(AWS)
    assert "hidden-one" not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    ("listed", "url", "is_direct"),
    [
        ("", AWS, False),
        ("", "http://127.0.0.1:8085", True),
        ("", "http://localhost:8085", True),
        ("", "http://[::1]:8085", True),
        ("", "http://169.254.169.254/latest", True),
        ("", "http://[fd00:ec2::254]/latest", True),
        ("", "http://169.254.170.2/v2", True),
        ("", "http://169.254.170.23/v1", True),
        ("intranet.example", "http://169.254.169.254/latest", True),
        ("intranet.example", "http://a.intranet.example", True),
        ("intranet.example", AWS, False),
        (".amazonaws.com", AWS, True),
        ("*", AWS, True),
    ],
)
def test_what_is_asked_directly(
    monkeypatch: pytest.MonkeyPatch, listed: str, url: str, *, is_direct: bool
) -> None:
    """This machine and its metadata services, beside what NO_PROXY lists."""
    monkeypatch.setenv("no_proxy", "")  # restored afterwards
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", listed)
    environment.prepare()
    assert (proxy_of(url) is None) == is_direct


def test_empty_variables_are_removed() -> None:
    """AWS's alone, and blank ones too: container tools can't unset a variable."""
    given = {"AWS_PROFILE": "", "AWS_CA_BUNDLE": " ", "AWS_REGION": "r", "OTHER": ""}
    environment.prepare(given)
    assert "AWS_PROFILE" not in given
    assert "AWS_CA_BUNDLE" not in given
    assert (given["AWS_REGION"], given["OTHER"]) == ("r", "")
