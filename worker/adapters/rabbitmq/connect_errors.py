"""Why a connection could not be opened, in words for an operator and free of credentials."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Any, Final

import pamqp.exceptions
from aiormq import exceptions as amqp

from worker.adapters.shortages import shortage_behind

if TYPE_CHECKING:
    from collections.abc import Callable


HANDSHAKE_BROKEN: Final = (
    "the connection was closed during the handshake; is the broker starting or stopping, and is "
    "this its AMQP port?"
)
_NO_BROKER: Final = "what answers there does not speak AMQP 0-9-1; is this its AMQP port?"


def opening_fault(error: BaseException) -> str:
    """What was wrong and what to do about it, from whatever the library raised."""
    if short := shortage_behind(error):
        return f"{short} ({words(error)})"
    if file_fault := _file_fault(error):
        return file_fault
    for candidate in (error, error.__cause__):
        for kind, explain in _FAULTS:
            if isinstance(candidate, kind):
                return explain(candidate)
    return f"{words(error)}; is the broker running, and is this its AMQP port?"


_FORESEEN: Final = (
    amqp.AMQPError,
    pamqp.exceptions.PAMQPException,
    OSError,
    # What both libraries raise for the use of something closed.
    RuntimeError,
    # What aiormq lets out when the connection goes in the middle of a handshake or a frame.
    StopAsyncIteration,
    EOFError,
)
_MOST_WORDS: Final = 300


def words(error: BaseException) -> str:
    """What an error of the library says, without its class; the class alone of one that is odd.

    An odd one may quote the URL, and its words say little to whoever does not read the library.
    """
    # aiormq gives whoever waits on a connection that it closes without a reason a bare Exception.
    if not (isinstance(error, _FORESEEN) or type(error) is Exception):
        return f"the client library failed in a way not foreseen: {type(error).__name__}"
    texts = [str(part) for part in error.args if part not in (None, "")]
    return (": ".join(texts) or type(error).__name__)[:_MOST_WORDS]


def _file_fault(error: BaseException) -> str | None:
    """What is wrong with a file that the URL names; what a connection meets comes wrapped."""
    remedy = "correct cafile, capath, certfile or keyfile in the URL"
    if isinstance(error, (FileNotFoundError, PermissionError, IsADirectoryError)):
        return f"a file that the URL names can't be read ({error.strerror}); {remedy}"
    if isinstance(error, ssl.SSLError) and (error.library == "X509" or "PEM" in str(error.reason)):
        return f"a file that the URL names holds no certificate or key; {remedy}"
    return None


def _untrusted(error: Any) -> str:
    return (
        f"its certificate is not trusted ({error.verify_message}); name the authority with "
        "`?cafile=/path/ca.pem` in the URL, or mend the certificate"
    )


def _closed(error: BaseException) -> str:
    return f"the broker closed the connection ({words(error)}); look into its log"


def _unexpected(error: BaseException) -> str:
    # The library shows what it waited for, and drops the broker's words about a virtual host.
    if "Connection.OpenOk" in words(error):
        return (
            "the virtual host is refused; mend the end of the URL, create the virtual host, or "
            "grant the user permissions on it"
        )
    return _NO_BROKER


_FAULTS: Final[tuple[tuple[type[BaseException], Callable[[Any], str]], ...]] = (
    (ssl.SSLCertVerificationError, _untrusted),
    (ssl.SSLError, lambda _: "TLS failed; is this its TLS port (5671 by default)?"),
    (socket.gaierror, lambda _: "unknown host name; mend the URL or the name service"),
    (ConnectionRefusedError, lambda _: "connection refused; is the broker running there?"),
    (
        amqp.ProbableAuthenticationError,
        lambda _: "login refused; check user and password (guest may log in from loopback only)",
    ),
    (
        amqp.AuthenticationError,
        lambda _: "the broker does not offer password login; let it offer PLAIN (auth_mechanisms)",
    ),
    (UnicodeDecodeError, lambda _: _NO_BROKER),
    (UnicodeError, lambda _: "no name service can look up this host name; correct the URL"),
    (
        ValueError,
        lambda _: "the URL can't be used; it is written amqp://user:password@host:port/vhost",
    ),
    (StopAsyncIteration, lambda _: HANDSHAKE_BROKEN),
    (EOFError, lambda _: HANDSHAKE_BROKEN),
    (amqp.ProtocolSyntaxError, _unexpected),
    (amqp.ConnectionClosed, _closed),
)
