"""Why not a byte of a request reached AWS, in words that name the address and its setting.

The worker, `check` and the look-up of credentials use the same words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from worker.core import aws_errors
from worker.core.aws_causes import reach

if TYPE_CHECKING:
    from worker.core.records import Fault


class Hop(NamedTuple):
    """A server that a connection goes to.

    Attributes:
        host: Its name or IP address.
        port: Its port.
        named_by: The setting or variable that the address comes from.
    """

    host: str
    port: int
    named_by: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class Route(NamedTuple):
    """How an endpoint is reached: directly, or through a proxy."""

    target: Hop
    proxy: Hop | None = None

    @property
    def shown(self) -> str:
        """The route, for people."""
        through = f", through the proxy {self.proxy}" if self.proxy else ""
        return f"{self.target}{through}"

    @property
    def sources(self) -> str:
        """The settings that the addresses come from, for people."""
        target = f"{self.target.host} comes from {self.target.named_by}"
        return f"{target}, the proxy from {self.proxy.named_by}" if self.proxy else target


def unreached(code: str, route: Route, detail: str, *, at_proxy: bool = False) -> Fault:
    """The fault of a call for which nothing was sent.

    Args:
        code: One of those of `aws_causes.reach`.
        route: How the endpoint is reached.
        detail: What happened, in a few words.
        at_proxy: Whether it happened on the way to the proxy.
    """
    if at_proxy and route.proxy is not None:
        route = Route(route.proxy)
        place = f"the proxy {route.target}"
    else:
        place = route.shown
    if code == reach.NAME_NOT_RESOLVED:
        place = f"the host name {route.target.host}"
    proxy = f"the proxy {route.proxy}" if route.proxy else "the proxy"
    words = _WORDS[code].format(place=place, proxy=proxy, target=route.target)
    return aws_errors.systemic(code, f"{words} ({detail}); {route.sources}")


_CERTIFICATE: Final = "the certificate of {place} can't be verified"
_WORDS: Final = {
    reach.NAME_NOT_RESOLVED: "{place} can't be resolved",
    reach.NOT_CONNECTED: "there is no connection to {place}",
    reach.TLS_FAILED: "the TLS handshake with {place} failed",
    reach.CERTIFICATE_NOT_TRUSTED: _CERTIFICATE,
    reach.CERTIFICATE_OF_ANOTHER: _CERTIFICATE,
    reach.CERTIFICATE_OUT_OF_DATE: _CERTIFICATE,
    reach.PROXY_LOGIN: "{proxy} refuses the user or password that it is given",
    reach.PROXY_REFUSES: "{proxy} does not connect to {target}",
    reach.NO_HTTP_PROXY: "{proxy} does not answer as an HTTP proxy does",
}
