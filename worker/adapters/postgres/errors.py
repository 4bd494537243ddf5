"""Translates the database's errors: whether rows or the database are at fault, and the remedy."""

from __future__ import annotations

import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

import asyncpg

from worker.adapters.shortages import shortage_behind
from worker.core.exceptions import LedgerUnavailable, RowsRefused

if TYPE_CHECKING:
    from collections.abc import Iterator


class NotConnected(LedgerUnavailable):
    """No connection could be opened, for whatever error the driver raised.

    The message contains no credentials. It is never blamed on rows: none were sent yet.

    Attributes:
        found: The diagnosis, in which nothing of the address is quoted.
        error: The driver's error. It may quote the address, so it must not be shown as it is.
    """

    def __init__(self, found: Diagnosis, error: Exception, place: str = "") -> None:
        where = f"database at {place}: " if place else ""
        super().__init__(f"{where}{found.what}; {found.remedy}")
        self.found = found
        self.error = error


class DriverFailed(Exception):
    """On an open session the driver raised an error that it should not; it is kept as the cause."""


class Diagnosis(NamedTuple):
    """What is wrong, and what an operator can do about it."""

    what: str
    remedy: str


_WAIT: Final = (
    "if it lasts, check the server's log, and whether there is a firewall or a pooler in between"
)
DSN: Final = "WORKER_POSTGRES__DSN (for `migrate`, WORKER_POSTGRES__ADMIN_DSN)"
_DSN: Final = f"correct {DSN}"
_MIGRATE: Final = "run `resolution-worker migrate`"

# By SQLSTATE, or by its class if the SQLSTATE itself is not listed. Sources: the table of error
# codes in the documentation of PostgreSQL, and what PgBouncer sends as 08P01.
BY_SQLSTATE: Final[dict[str, Diagnosis]] = {
    "08P01": Diagnosis(
        "the server, or a pooler in front of it, refused the protocol",
        "behind a pooler, check its log; it must pool by session or by transaction",
    ),
    "25006": Diagnosis(
        "the database is read-only",
        f"if it is a standby, {_DSN}; otherwise end the read-only state, and run RECONNECT on a "
        "PgBouncer in between",
    ),
    "25P03": Diagnosis("the server ended an idle transaction", _WAIT),
    "26000": Diagnosis("a prepared statement is gone: there is a pooler in between", _WAIT),
    "28000": Diagnosis(
        "the server does not accept this role or host",
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
    "42P05": Diagnosis("a prepared statement exists already: there is a pooler in between", _WAIT),
    "42P10": Diagnosis("the schema lacks a constraint", _MIGRATE),
    "53100": Diagnosis("the server's disk is full", "free space on it"),
    "53200": Diagnosis("the server is out of memory", "give it more memory, or fewer connections"),
    "53300": Diagnosis(
        "the server has no free connection",
        "raise max_connections, run fewer replicas, or use a pooler",
    ),
    "55P03": Diagnosis(
        "a lock could not be acquired in time",
        "find the session that holds it in pg_stat_activity",
    ),
    "57014": Diagnosis(
        "the server cancelled a statement that took too long",
        "check the server's load, and locks in pg_stat_activity",
    ),
    "57P03": Diagnosis("the server is starting or stopping", _WAIT),
    "08": Diagnosis("the connection to the server was lost", _WAIT),
    "28": Diagnosis("the server does not accept this role", _DSN),
    "40": Diagnosis("the transaction conflicted with others repeatedly", _WAIT),
    "53": Diagnosis("the server lacks resources", "check its log"),
    "57": Diagnosis("the server or an operator ended the session", _WAIT),
    "58": Diagnosis("the server has a system error", "check its log"),
    "XX": Diagnosis("the server has an internal error", "check its log"),
}

NETWORK: Final[tuple[tuple[type[BaseException], Diagnosis], ...]] = (
    (asyncpg.exceptions.ClientConfigurationError, Diagnosis("the address can't be used", _DSN)),
    (
        ssl.SSLCertVerificationError,
        Diagnosis("the server's certificate can't be verified", f"{_DSN}: host, sslrootcert"),
    ),
    (ssl.SSLError, Diagnosis("no encrypted connection could be established", f"{_DSN}: sslmode")),
    (
        ConnectionRefusedError,
        Diagnosis("no server listens there", f"start PostgreSQL, or {_DSN}"),
    ),
    (TimeoutError, Diagnosis("the server did not answer in time", _WAIT)),
    (ConnectionError, Diagnosis("the connection to the server was lost", _WAIT)),
    (OSError, Diagnosis("the server can't be reached", _DSN)),
)

# The first that matches; more specific types come first.
BY_TYPE: Final[tuple[tuple[type[BaseException], Diagnosis], ...]] = (
    *NETWORK,
    (asyncpg.InterfaceError, Diagnosis("the connection to the server was lost", _WAIT)),
    (DriverFailed, Diagnosis("the database driver failed with an unexpected error", _WAIT)),
)
_UNKNOWN: Final = Diagnosis("the database failed with an unexpected error", "check its log")

# Data that can never be stored: data exceptions, violated constraints, a key too large for an
# index (the only limit of class 54 that our rows can reach), and what triggers and functions that
# somebody added raise (09, 21, 27, 38, 39, P0) or views check (44).
_ROWS: Final = frozenset({"22", "23", "54", "09", "21", "27", "38", "39", "44", "P0"})
# After these the session can still be used: the statement was refused, and is rolled back.
_SOUND: Final = _ROWS | {"40"}
# The server aborted this transaction in favour of others: it can be retried at once.
_COLLISIONS: Final = frozenset({"40001", "40P01"})

FAULTS: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    DriverFailed,
)
"""The errors that may be raised on an open session."""


_HOLDS_UNICODE: Final = frozenset({"UTF8", "SQL_ASCII"})


def unfit_encoding(encoding: str) -> Diagnosis | None:
    """The diagnosis of a database whose encoding can't hold all of Unicode; None if it can.

    SQL_ASCII can: it keeps bytes as they come, and all our programs send UTF-8.
    """
    if encoding in _HOLDS_UNICODE:
        return None
    return Diagnosis(
        f"the database's encoding is {encoding}, which can't hold all that buyers and AWS send",
        "create one with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0, move with pg_dump "
        f"and pg_restore what is stored, and {_DSN}",
    )


def _class_of(error: BaseException) -> str:
    return (error.sqlstate or "")[:2] if isinstance(error, asyncpg.PostgresError) else ""


def is_collision(error: BaseException) -> bool:
    """Whether the transaction should be retried as it is (serialisation failure, deadlock)."""
    return isinstance(error, asyncpg.PostgresError) and error.sqlstate in _COLLISIONS


def leaves_session_sound(error: BaseException) -> bool:
    """Whether the session can be used again after a rollback."""
    return _class_of(error) in _SOUND


def diagnose(error: BaseException) -> Diagnosis:
    """The diagnosis of an error that is not the rows' fault."""
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return BY_SQLSTATE.get(state) or BY_SQLSTATE.get(state[:2]) or _UNKNOWN
    return by_type(error, BY_TYPE)


def by_type(
    error: BaseException, table: tuple[tuple[type[BaseException], Diagnosis], ...]
) -> Diagnosis:
    """The diagnosis by the first type in a table that fits, or of a shortage behind the error."""
    if short := shortage_behind(error):
        return Diagnosis(short.what, short.remedy)
    return next((found for kind, found in table if isinstance(error, kind)), _UNKNOWN)


def translate(error: BaseException) -> LedgerUnavailable | RowsRefused:
    """The error in the runtime's terms; an unknown error is never blamed on the rows."""
    if _class_of(error) in _ROWS:
        return RowsRefused(_refusal(error))
    return LedgerUnavailable(_sentence(diagnose(error), error))


def _refusal(error: BaseException) -> str:
    # Without message and detail, which quote the row.
    names = (getattr(error, f"{kind}_name", None) for kind in ("table", "constraint", "column"))
    state = getattr(error, "sqlstate", "")
    words = ", ".join((type(error).__name__, f"SQLSTATE {state}", *filter(None, names)))
    return f"the database refused a row: {words}"


def _sentence(found: Diagnosis, error: BaseException) -> str:
    detail = words(error)
    return f"{found.what}{f' ({detail})' if detail else ''}; {found.remedy}"


_CLEAN: Final = ("root certificate file", "could not match", "could not determine", "direct TLS")


def words(error: BaseException) -> str:
    """An error's message if it is certain not to quote the address, else its type's name or ""."""
    if isinstance(error, asyncpg.PostgresError):
        # The first argument alone: asyncpg appends DETAIL and HINT to str().
        return str(error.args[0])
    if isinstance(error, asyncpg.exceptions.ClientConfigurationError):
        message = str(error.args[0])
        return message if message.startswith(_CLEAN) else ""
    if isinstance(error, (OSError, asyncpg.InterfaceError, DriverFailed)):
        return str(error)
    return type(error).__name__


@contextmanager
def driven() -> Iterator[None]:
    """Around each driver call on an open session: raises unexpected errors as `DriverFailed`.

    An odd answer of a server or a pooler, or a connection that is lost at the wrong moment, makes
    it raise AttributeError, RuntimeError and others. Whether the statement was run is then unknown.
    """
    try:
        yield
    except FAULTS:
        raise
    except Exception as error:
        raise DriverFailed(type(error).__name__) from error


@contextmanager
def translated() -> Iterator[None]:
    """Raise the driver's errors as `LedgerUnavailable` or `RowsRefused`, keeping the cause."""
    try:
        yield
    except FAULTS as error:
        raise translate(error) from error


@contextmanager
def translated_without_rows() -> Iterator[None]:
    """As `translated`, for statements without rows: every error is the database's."""
    try:
        with translated():
            yield
    except RowsRefused as error:
        raise LedgerUnavailable(str(error)) from error
