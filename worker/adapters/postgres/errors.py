"""What the database says, translated once: whose fault it is, and what mends it."""

from __future__ import annotations

import socket
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

import asyncpg

from worker.adapters.shortages import shortage_behind
from worker.core.exceptions import LedgerUnavailable, RowsRefused

if TYPE_CHECKING:
    from collections.abc import Iterator


class NotConnected(LedgerUnavailable):
    """No connection could be opened, whatever the driver raised instead.

    The message is free of credentials. It is never held against rows: there were none yet.

    Attributes:
        error: What the driver raised. It may quote the address, and is not to be shown as it is.
    """

    def __init__(self, error: Exception) -> None:
        found = diagnose_connecting(error)
        super().__init__(_sentence(found, error))
        self.error = error


class DriverFailed(Exception):
    """On an open session the driver raised what it never should; the cause is kept."""


class Diagnosis(NamedTuple):
    """What is the matter, and what an operator can do about it."""

    what: str
    remedy: str


_WAIT: Final = "the worker keeps what it holds and tries again by itself"
_DSN: Final = "correct WORKER_POSTGRES__DSN (for `migrate`, WORKER_POSTGRES__ADMIN_DSN)"
_MIGRATE: Final = "run `resolution-worker migrate`"

# By SQLSTATE, or by its class where no more is known. Sources: the table of error codes in the
# documentation of PostgreSQL, and what PgBouncer sends as 08P01.
BY_SQLSTATE: Final[dict[str, Diagnosis]] = {
    "08P01": Diagnosis(
        "the server or a pooler before it refused the protocol",
        "behind a pooler, look into its log; it must pool by session or by transaction",
    ),
    "25006": Diagnosis(
        "the database is read-only",
        f"if it is a standby, {_DSN}; else end the read-only state, and then let a PgBouncer that "
        "stands between RECONNECT",
    ),
    "25P03": Diagnosis("the server ended a transaction that stood idle", _WAIT),
    "26000": Diagnosis("a prepared statement is gone: a pooler stands between", _WAIT),
    "28000": Diagnosis(
        "the server lets this role or host not in",
        f"allow it in the server's pg_hba.conf, or {_DSN}",
    ),
    "28P01": Diagnosis("the server refused the password", f"set the role's password, or {_DSN}"),
    "3D000": Diagnosis("the database does not exist", f"create it, or {_DSN}"),
    "3F000": Diagnosis("the schema is missing", _MIGRATE),
    "42501": Diagnosis(
        "the role lacks a right",
        "run deploy/postgres/grants.sql as the schema's owner"
        " (before the first `migrate`, deploy/postgres/roles.sql as superuser)",
    ),
    "42703": Diagnosis("the schema lacks a column", _MIGRATE),
    "42P01": Diagnosis("the schema lacks a table", _MIGRATE),
    "42P05": Diagnosis("a prepared statement exists twice: a pooler stands between", _WAIT),
    "42P10": Diagnosis("the schema lacks a constraint", _MIGRATE),
    "53100": Diagnosis("the server's disk is full", "make room on it"),
    "53200": Diagnosis("the server is out of memory", "give it more, or fewer connections"),
    "53300": Diagnosis(
        "the server has no connection to spare",
        "raise max_connections, run fewer replicas, or put a pooler between",
    ),
    "55P03": Diagnosis(
        "a lock was not to be had in time",
        "look in pg_stat_activity for the session that holds it",
    ),
    "57014": Diagnosis(
        "the server cancelled a statement that took too long",
        "look for its load, and for locks in pg_stat_activity",
    ),
    "57P03": Diagnosis("the server is starting or stopping", _WAIT),
    "08": Diagnosis("the connection to the server was lost", _WAIT),
    "28": Diagnosis("the server lets this role not in", _DSN),
    "40": Diagnosis("the transaction collided with others again and again", _WAIT),
    "53": Diagnosis("the server lacks resources", "look into its log"),
    "57": Diagnosis("the server or an operator ended the session", _WAIT),
    "58": Diagnosis("the server has a fault of its system", "look into its log"),
    "XX": Diagnosis("the server has an internal fault", "look into its log"),
}

# What these mean where there is no session yet.
_PARAMETER: Final = Diagnosis("the server refuses a parameter of the address", _DSN)
_BY_SQLSTATE_CONNECTING: Final = {
    "22023": _PARAMETER,
    "42501": Diagnosis(
        "the role may not connect to this database",
        f"run deploy/postgres/roles.sql as superuser, connected to it, or {_DSN}",
    ),
    "42704": _PARAMETER,
}

_NO_POSTGRES: Final = Diagnosis(
    "the address can't be used, or what answers there is no PostgreSQL",
    f"{_DSN}, or look into the log of the server or of the pooler before it",
)
_NETWORK: Final[tuple[tuple[type[BaseException], Diagnosis], ...]] = (
    (asyncpg.exceptions.ClientConfigurationError, Diagnosis("the address can't be used", _DSN)),
    (
        ssl.SSLCertVerificationError,
        Diagnosis("the server's certificate can't be verified", f"{_DSN}: host, sslrootcert"),
    ),
    (ssl.SSLError, Diagnosis("no encrypted connection came about", f"{_DSN}: sslmode")),
    (socket.gaierror, Diagnosis("the server's name can't be resolved", _DSN)),
    (
        ConnectionRefusedError,
        Diagnosis("no server listens there", f"start PostgreSQL, or {_DSN}"),
    ),
    (TimeoutError, Diagnosis("the server did not answer in time", _WAIT)),
    (ConnectionError, Diagnosis("the connection to the server was lost", _WAIT)),
    (OSError, Diagnosis("the server can't be reached", _DSN)),
)

# The first that fits; the more special ones first.
BY_TYPE: Final[tuple[tuple[type[BaseException], Diagnosis], ...]] = (
    *_NETWORK,
    (asyncpg.InterfaceError, Diagnosis("the connection to the server was lost", _WAIT)),
    (DriverFailed, Diagnosis("the database driver failed in a way not foreseen", _WAIT)),
)
_BY_TYPE_CONNECTING: Final[tuple[tuple[type[BaseException], Diagnosis], ...]] = (
    (
        asyncpg.TargetServerAttributeNotMatched,
        Diagnosis("no server of the address is what target_session_attrs asks for", _DSN),
    ),
    (UnicodeDecodeError, _NO_POSTGRES),
    (UnicodeError, Diagnosis("the address names a host that no name service can look up", _DSN)),
    *_NETWORK,
    (asyncpg.InterfaceError, Diagnosis("the server and the driver have no method in common", _DSN)),
    (Exception, _NO_POSTGRES),
)

_UNKNOWN: Final = Diagnosis("the database failed in a way not foreseen", "look into its log")

# Data that can never be stored: data exceptions, violated constraints, and a key too large for
# an index (of class 54 the only limit that rows of ours can meet).
_ROWS: Final = frozenset({"22", "23", "54"})
# The session itself is sound after these: the statement was refused, and is rolled back.
_SOUND: Final = _ROWS | {"40"}
# The server chose this transaction to give way: it is to be tried again at once.
_COLLISIONS: Final = frozenset({"40001", "40P01"})

FAULTS: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    DriverFailed,
)
"""What may be raised on an open session."""


def _class_of(error: BaseException) -> str:
    return (error.sqlstate or "")[:2] if isinstance(error, asyncpg.PostgresError) else ""


def is_collision(error: BaseException) -> bool:
    """Whether the server asks for the same transaction again (serialisation, deadlock)."""
    return isinstance(error, asyncpg.PostgresError) and error.sqlstate in _COLLISIONS


def leaves_session_sound(error: BaseException) -> bool:
    """Whether the connection can be used again after a rollback."""
    return _class_of(error) in _SOUND


def diagnose(error: BaseException) -> Diagnosis:
    """What is the matter and what mends it, for an error that is not the rows' fault."""
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return BY_SQLSTATE.get(state) or BY_SQLSTATE.get(state[:2]) or _UNKNOWN
    return _by_type(error, BY_TYPE)


def diagnose_connecting(error: BaseException) -> Diagnosis:
    """As `diagnose`, of what kept a connection from being opened: any error may have."""
    if isinstance(error, asyncpg.PostgresError):
        return _BY_SQLSTATE_CONNECTING.get(error.sqlstate or "") or diagnose(error)
    return _by_type(error, _BY_TYPE_CONNECTING)


def _by_type(
    error: BaseException, table: tuple[tuple[type[BaseException], Diagnosis], ...]
) -> Diagnosis:
    if short := shortage_behind(error):
        return Diagnosis(short.what, short.remedy)
    return next((found for kind, found in table if isinstance(error, kind)), _UNKNOWN)


def translate(error: BaseException) -> LedgerUnavailable | RowsRefused:
    """The error as the runtime knows it; what is not known is never held against the rows."""
    if _class_of(error) in _ROWS:
        return RowsRefused(_refusal(error))
    return LedgerUnavailable(_sentence(diagnose(error), error))


def _refusal(error: BaseException) -> str:
    # Neither message nor detail: they quote the row.
    place = getattr(error, "constraint_name", None) or getattr(error, "column_name", None)
    state = getattr(error, "sqlstate", "")
    kind = type(error).__name__
    return f"the database refused a row: {kind}, SQLSTATE {state}{f', {place}' if place else ''}"


def _sentence(found: Diagnosis, error: BaseException) -> str:
    detail = words(error)
    return f"{found.what}{f' ({detail})' if detail else ''}; {found.remedy}"


_CLEAN: Final = ("root certificate file", "could not match", "could not determine", "direct TLS")


def words(error: BaseException) -> str:
    """What an error says, if it surely quotes nothing of the address, else its kind."""
    if isinstance(error, asyncpg.PostgresError):
        # The first argument alone: asyncpg appends DETAIL and HINT to str().
        return str(error.args[0])
    if isinstance(error, asyncpg.exceptions.ClientConfigurationError):
        said = str(error.args[0])
        return said if said.startswith(_CLEAN) else ""
    if isinstance(error, (OSError, asyncpg.InterfaceError, DriverFailed)):
        return str(error)
    return type(error).__name__


@contextmanager
def driven() -> Iterator[None]:
    """Around each call of the driver on an open session: what it should never raise has a name.

    An odd answer of a server or a pooler, or a connection that goes at the wrong moment, makes it
    raise AttributeError, RuntimeError and others. Nobody knows whether the statement was done.
    """
    try:
        yield
    except FAULTS:
        raise
    except Exception as error:
        raise DriverFailed(type(error).__name__) from error


@contextmanager
def translated() -> Iterator[None]:
    """Raise what the driver raises as `LedgerUnavailable` or `RowsRefused`, keeping the cause."""
    try:
        yield
    except FAULTS as error:
        raise translate(error) from error


@contextmanager
def translated_without_rows() -> Iterator[None]:
    """As `translated`, where no rows are given: whatever is wrong, it is the database."""
    try:
        with translated():
            yield
    except RowsRefused as error:
        raise LedgerUnavailable(str(error)) from error
