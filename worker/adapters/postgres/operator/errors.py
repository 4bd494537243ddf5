"""What the database says to a person at a command, who can look, correct and run it again."""

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
    "look into the server's log, and whether a firewall or a pooler stands between"
)
_RUN_AGAIN: Final = f"run it again; if that does not help, {_LOOK_AT_SERVER}"
_AS_OPERATOR: Final = (
    "connect as resolution_operator, who may do this, with WORKER_POSTGRES__DSN; if you do, "
    "run deploy/postgres/grants.sql as the schema's owner"
)
_DSN: Final = "WORKER_POSTGRES__DSN (for `migrate`, WORKER_POSTGRES__ADMIN_DSN)"
_SYSTEM: Final = "sslrootcert=/etc/ssl/certs/ca-certificates.crt"


FAULTS: Final = (errors.NotConnected, *errors.FAULTS)
"""What may be raised by whoever opens a session and uses it."""


class DatabaseFault(Exception):
    """The database could not be asked.

    Attributes:
        what: What is the matter, in our words and the server's.
        remedy: What to do about it.
        place: Hosts and ports of the database; empty where nobody said.
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
    """What the driver raised, in words for a person.

    Args:
        error: Of `FAULTS`.
        dsn: Where to it was; nothing but hosts, ports and files of it is told.
    """
    if isinstance(error, errors.NotConnected):
        error = error.error
        found = _set_up(error, dsn) or errors.diagnose_connecting(error)
    else:
        found = errors.diagnose(error)
    # The first argument alone: asyncpg appends DETAIL and HINT to str().
    said = f" ({error.args[0]})" if isinstance(error, asyncpg.PostgresError) else ""
    # What the worker does by itself is no remedy for a person.
    remedy = _LOOK_AT_SERVER if found.remedy == _WAIT else found.remedy
    return DatabaseFault(f"{found.what}{said}", remedy, place(dsn))


def told(said: str) -> str:
    """A fault in the worker's words, with what a person does in place of what the worker does."""
    return said.replace(_WAIT, _RUN_AGAIN)


def told_operator(said: str) -> str:
    """As `told`, of what resolution_operator may do and the worker's role may not."""
    return told(said).replace(_GRANTS, _AS_OPERATOR)


def place(dsn: str) -> str:
    """Hosts and ports of a DSN as they are written there, and nothing else of it."""
    try:
        parts = urlsplit(dsn)
    except ValueError:
        return ""
    return parts.netloc.rpartition("@")[2] or ",".join(parse_qs(parts.query).get("host", []))


# --- TLS ---


def _set_up(error: BaseException, dsn: str) -> Diagnosis | None:
    """What is the matter with the address or with TLS, where the driver says more than a kind."""
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
    f"let sslrootcert in {_DSN} name the authority that signed it, {_SYSTEM} for a public one"
)
_ANOTHER_NAME: Final = (
    f"use in {_DSN} a host name that the certificate is for, or give the server one for this name"
)
# By the codes of X509_verify_cert_error_string(3).
_VERIFYING: Final[dict[int, str]] = {
    9: "set this machine's clock, or the server's certificate anew: it is not valid yet",
    10: "renew the server's certificate; if it is not old, set this machine's clock",
    62: _ANOTHER_NAME,
    64: _ANOTHER_NAME,
}
_NO_TLS: Final = Diagnosis(
    "the server speaks no TLS",
    f"set `ssl = on` there, with a certificate; or correct host, port or sslmode in {_DSN}",
)


def _unusable(said: str) -> Diagnosis:
    if said.startswith("root certificate file"):
        return Diagnosis(
            said, f"add {_SYSTEM}, or the authority that signed the server's own, to {_DSN}"
        )
    return Diagnosis(f"the address can't be used{said and f': {said}'}", f"correct {_DSN}")


def _unencrypted(error: OSError) -> Diagnosis | None:
    if not isinstance(error, ssl.SSLError):
        return None
    said = error.reason or str(error.args[-1])
    if error.library in {"PEM", "X509"} or "PEM" in said:
        return Diagnosis(
            f"a file of the address is no certificate or key: {said}",
            f"correct sslrootcert, sslcert, sslkey or sslcrl in {_DSN}",
        )
    return Diagnosis(f"no encrypted connection came about: {said}", f"correct {_DSN}: sslmode")


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
