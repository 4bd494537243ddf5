"""Database errors for people at a command, who can correct the cause and run it again."""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, urlsplit

import asyncpg

from worker.adapters.postgres import errors
from worker.adapters.postgres.errors import Diagnosis

if TYPE_CHECKING:
    from collections.abc import Iterator

_WAIT: Final = errors.BY_SQLSTATE["08"].remedy
_GRANTS: Final = errors.BY_SQLSTATE["42501"].remedy
_LOOK_AT_SERVER: Final = (
    "check the server's log, and whether there is a firewall or a pooler in between"
)
_RUN_AGAIN: Final = f"run it again; if that does not help, {_LOOK_AT_SERVER}"
_AS_OPERATOR: Final = (
    "connect as resolution_operator, which may do this, with WORKER_POSTGRES__DSN; if you do, "
    "run deploy/postgres/grants.sql as the schema's owner"
)
_DSN: Final = "WORKER_POSTGRES__DSN (for `migrate`, WORKER_POSTGRES__ADMIN_DSN)"
_SYSTEM: Final = "sslrootcert=/etc/ssl/certs/ca-certificates.crt"


FAULTS: Final = (errors.NotConnected, *errors.FAULTS)
"""The errors that may be raised when a session is opened or used."""


class DatabaseFault(Exception):
    """The database failed or could not be reached.

    Attributes:
        what: What is wrong, with the server's own message.
        remedy: What to do about it.
        place: Hosts and ports of the database; empty if unknown.
    """

    def __init__(self, what: str, remedy: str, place: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy
        self.place = place

    @property
    def line(self) -> str:
        """Where, what, and what to do, on one line."""
        where = f"database at {self.place}: " if self.place else ""
        return f"{where}{self.what}; {self.remedy}"


def fault_of(error: BaseException, dsn: str = "") -> DatabaseFault:
    """The driver's error as a `DatabaseFault`.

    Args:
        error: One of `FAULTS`.
        dsn: The address used; only its hosts, ports and files are shown.
    """
    if isinstance(error, errors.NotConnected):
        error = error.error
        found = _set_up(error, dsn) or errors.diagnose_connecting(error)
    else:
        found = errors.diagnose(error)
    # The first argument alone: asyncpg appends DETAIL and HINT to str().
    message = f" ({error.args[0]})" if isinstance(error, asyncpg.PostgresError) else ""
    # That the worker tries again by itself is no remedy for a person.
    remedy = _LOOK_AT_SERVER if found.remedy == _WAIT else found.remedy
    return DatabaseFault(f"{found.what}{message}", remedy, place(dsn))


def told(message: str) -> str:
    """A worker's fault message, with a remedy for a person in place of the worker's own retry."""
    return message.replace(_WAIT, _RUN_AGAIN)


def told_operator(message: str) -> str:
    """As `told`, for acts that resolution_operator may do but the worker's role may not."""
    return told(message).replace(_GRANTS, _AS_OPERATOR)


def place(dsn: str) -> str:
    """Only the hosts and ports of a DSN, as they are written there."""
    try:
        parts = urlsplit(dsn)
    except ValueError:
        return ""
    return parts.netloc.rpartition("@")[2] or ",".join(parse_qs(parts.query).get("host", []))


# --- TLS ---


def _set_up(error: BaseException, dsn: str) -> Diagnosis | None:
    """A diagnosis of the address or of TLS, if the driver's error is specific enough."""
    if isinstance(error, ssl.SSLCertVerificationError):
        remedy = _VERIFYING.get(error.verify_code, _ANOTHER_AUTHORITY)
        what = f"the server's certificate can't be verified: {error.verify_message}"
        return Diagnosis(what, remedy)
    if isinstance(error, asyncpg.exceptions.ClientConfigurationError):
        return _unusable(errors.words(error))
    if isinstance(error, ConnectionError):
        return _NO_TLS if "rejected SSL upgrade" in str(error) else None
    if isinstance(error, OSError):
        return next(_unreadable(dsn), None) or _unencrypted(error)
    return None


_ANOTHER_AUTHORITY: Final = (
    f"set sslrootcert in {_DSN} to the authority that signed it, {_SYSTEM} for a public one"
)
_ANOTHER_NAME: Final = (
    f"use in {_DSN} a host name that the certificate is for, or give the server one for this name"
)
# By the codes of X509_verify_cert_error_string(3).
_VERIFYING: Final[dict[int, str]] = {
    9: "set this machine's clock, or replace the server's certificate: it is not valid yet",
    10: "renew the server's certificate; if it is not old, set this machine's clock",
    62: _ANOTHER_NAME,
    64: _ANOTHER_NAME,
}
_NO_TLS: Final = Diagnosis(
    "the server does not support TLS",
    f"set `ssl = on` there, with a certificate; or correct host, port or sslmode in {_DSN}",
)


def _unusable(message: str) -> Diagnosis:
    if message.startswith("root certificate file"):
        return Diagnosis(
            message,
            f"add {_SYSTEM}, or the authority that signed the server's certificate, to {_DSN}",
        )
    return Diagnosis(f"the address can't be used{message and f': {message}'}", f"correct {_DSN}")


def _unencrypted(error: OSError) -> Diagnosis | None:
    if not isinstance(error, ssl.SSLError):
        return None
    message = error.reason or str(error.args[-1])
    if error.library in {"PEM", "X509"} or "PEM" in message:
        return Diagnosis(
            f"a file named in the address is not a certificate or key: {message}",
            f"correct sslrootcert, sslcert, sslkey or sslcrl in {_DSN}",
        )
    return Diagnosis(
        f"no encrypted connection could be established: {message}", f"correct {_DSN}: sslmode"
    )


def _unreadable(dsn: str) -> Iterator[Diagnosis]:
    query = parse_qs(urlsplit(dsn).query)
    for name in ("sslrootcert", "sslcert", "sslkey", "sslcrl"):
        variable = f"PG{name.upper()}"
        path = query.get(name, [os.environ.get(variable, "")])[-1]
        try:
            if path:
                with open(path, "rb") as file:  # noqa: PTH123 - as the driver does
                    file.read(1)
        except (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError) as error:
            where = f"{name} in {_DSN}" if name in query else variable
            yield Diagnosis(f"{name} {path} can't be read: {error.strerror}", f"correct {where}")
