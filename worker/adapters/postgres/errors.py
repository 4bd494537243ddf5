"""What the database says, translated once: whose fault it is, and what mends it."""

from __future__ import annotations

import socket
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

import asyncpg

from worker.adapters.shortages import shortage_behind
from worker.ports import LedgerUnavailable, RowsRefused

if TYPE_CHECKING:
    from collections.abc import Iterator


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
        f"if it is a standby, {_DSN}; else end the read-only state",
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

# The first that fits; the more special ones first.
BY_TYPE: Final[tuple[tuple[type[BaseException], Diagnosis], ...]] = (
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
    (asyncpg.InterfaceError, Diagnosis("the connection to the server was lost", _WAIT)),
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
)


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
    if short := shortage_behind(error):
        return Diagnosis(short.what, short.remedy)
    return next((found for kind, found in BY_TYPE if isinstance(error, kind)), _UNKNOWN)


def translate(error: BaseException) -> LedgerUnavailable | RowsRefused:
    """The error as the runtime knows it; what is not known is never held against the rows."""
    if _class_of(error) in _ROWS:
        return RowsRefused(_refusal(error))
    found = diagnose(error)
    detail = _words(error)
    return LedgerUnavailable(f"{found.what}{f' ({detail})' if detail else ''}; {found.remedy}")


def _refusal(error: BaseException) -> str:
    # Neither message nor detail: they quote the row.
    place = getattr(error, "constraint_name", None) or getattr(error, "column_name", None)
    state = getattr(error, "sqlstate", "")
    kind = type(error).__name__
    return f"the database refused a row: {kind}, SQLSTATE {state}{f', {place}' if place else ''}"


def _words(error: BaseException) -> str:
    # The first argument alone: asyncpg appends DETAIL and HINT to str().
    return str(error.args[0]) if isinstance(error, asyncpg.PostgresError) else str(error)


@contextmanager
def translated() -> Iterator[None]:
    """Raise what the driver raises as `LedgerUnavailable` or `RowsRefused`, keeping the cause."""
    try:
        yield
    except FAULTS as error:
        raise translate(error) from error
