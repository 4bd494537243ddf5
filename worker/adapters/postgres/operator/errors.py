"""Database errors for people at a command, who can correct the cause and run it again."""

from __future__ import annotations

from typing import Final

import asyncpg

from worker.adapters.postgres import errors
from worker.adapters.postgres.connecting import default_port
from worker.core.addresses.postgres import read

_WAIT: Final = errors.BY_SQLSTATE["08"].remedy
_GRANTS: Final = errors.BY_SQLSTATE["42501"].remedy
_RUN_AGAIN: Final = f"run it again; {_WAIT}"
_AS_OPERATOR: Final = (
    "connect as resolution_operator, which may do this, with WORKER_POSTGRES__DSN; if you do, "
    "run deploy/postgres/grants.sql as the schema's owner"
)


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
        what, remedy = error.found
    else:
        what, remedy = errors.diagnose(error)
        # The first argument alone: asyncpg appends DETAIL and HINT to str().
        what += f" ({error.args[0]})" if isinstance(error, asyncpg.PostgresError) else ""
    return DatabaseFault(what, remedy, place(dsn))


def told(message: str) -> str:
    """A worker's fault message for a person at a command, who has to try again by hand."""
    return message.replace(_WAIT, _RUN_AGAIN)


def told_line(error: Exception) -> str:
    """As `told`, of an error; says that the database is meant."""
    words = told(str(error))
    return words if isinstance(error, errors.NotConnected) else f"database: {words}"


def told_operator(message: str) -> str:
    """As `told`, for acts that resolution_operator may do but the worker's role may not."""
    return told(message).replace(_GRANTS, _AS_OPERATOR)


def place(dsn: str) -> str:
    """Only the hosts and ports of a DSN; empty if it can't be read."""
    try:
        return read(dsn, default_port()).place
    except ValueError:
        return ""
