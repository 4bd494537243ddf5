"""Why a connection could not be opened, in words for an operator and free of credentials."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Any, Final

from aiormq import exceptions as amqp

from worker.adapters.shortages import shortage_behind

if TYPE_CHECKING:
    from collections.abc import Callable


HANDSHAKE_BROKEN: Final = (
    "the connection was closed during the handshake; is the broker starting or stopping, and is "
    "this its AMQP port?"
)


def opening_fault(error: BaseException) -> str:
    """What was wrong and what to do about it, from what the library raised."""
    if short := shortage_behind(error):
        return f"{short} ({words(error)})"
    for candidate in (error, error.__cause__):
        for kind, explain in _FAULTS:
            if isinstance(candidate, kind):
                return explain(candidate)
    return f"{words(error)}; is the broker running, and is this its AMQP port?"


def words(error: BaseException) -> str:
    """What an error of the library says, without its class."""
    texts = [str(part) for part in error.args if part not in (None, "")]
    return ": ".join(texts) or type(error).__name__


def _untrusted(error: Any) -> str:
    return (
        f"its certificate is not trusted ({error.verify_message}); name the authority with "
        "`?cafile=/path/ca.pem` in the URL, or mend the certificate"
    )


def _unexpected(error: BaseException) -> str:
    # The library shows what it waited for, and drops the broker's words about a virtual host.
    if "Connection.OpenOk" in words(error):
        return (
            "the virtual host is refused; mend the end of the URL, create the virtual host, or "
            "grant the user permissions on it"
        )
    return "what answers there does not speak AMQP 0-9-1; is this its AMQP port?"


_FAULTS: Final[tuple[tuple[type[BaseException], Callable[[Any], str]], ...]] = (
    (ssl.SSLCertVerificationError, _untrusted),
    (ssl.SSLError, lambda _: "TLS failed; is this its TLS port (5671 by default)?"),
    (socket.gaierror, lambda _: "unknown host name; mend the URL or the name service"),
    (ConnectionRefusedError, lambda _: "connection refused; is the broker running there?"),
    (
        amqp.ProbableAuthenticationError,
        lambda _: "login refused; check user and password (guest may log in from loopback only)",
    ),
    (amqp.AuthenticationError, lambda _: "the broker does not offer password login (PLAIN)"),
    (ValueError, lambda _: "the URL is none; it is written amqp://user:password@host:port/vhost"),
    (StopAsyncIteration, lambda _: HANDSHAKE_BROKEN),
    (EOFError, lambda _: HANDSHAKE_BROKEN),
    (amqp.ProtocolSyntaxError, _unexpected),
    (amqp.ConnectionClosed, lambda error: f"the broker closed the connection ({words(error)})"),
)
