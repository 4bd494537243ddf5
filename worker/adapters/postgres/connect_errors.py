"""Why no connection to the database could be opened, and what an operator can do about it."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Final

import asyncpg

from worker.adapters.certificate_errors import certificate_remedy
from worker.adapters.postgres.errors import (
    DSN,
    NETWORK,
    Diagnosis,
    NotConnected,
    by_type,
    diagnose,
)
from worker.adapters.postgres.errors import words as words_of
from worker.adapters.racing import NoneSucceeded
from worker.adapters.reach import UnknownName
from worker.adapters.tls_files import UnusableFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.adapters.racing import Failed
    from worker.core.addresses.postgres import DatabaseAddress

_CORRECT: Final = f"correct {DSN}"
_PARAMETER: Final = Diagnosis(
    "the server, or a pooler in front of it, refused a parameter of the address",
    f"correct options in {DSN}; PgBouncer can be told to ignore it (ignore_startup_parameters)",
)
_BY_SQLSTATE: Final = {
    "22023": _PARAMETER,
    "42501": Diagnosis(
        "the role may not connect to this database",
        f"run deploy/postgres/roles.sql as superuser, connected to it, or {_CORRECT}",
    ),
    "42704": _PARAMETER,
}
_NO_PASSWORD: Final = Diagnosis(
    "the server asks for a password, and the address has none", f"add the role's password to {DSN}"
)
_ONLY_ENCRYPTED: Final = Diagnosis(
    "the server accepts no unencrypted connection of this role from this host",
    f"set sslmode=verify-full in {DSN}, or allow it in the server's pg_hba.conf",
)
_NO_POSTGRES: Final = Diagnosis(
    "the address can't be used, or the server there is not PostgreSQL",
    f"{_CORRECT}, or check the log of the server or of the pooler in front of it",
)
_BY_TYPE: Final[tuple[tuple[type[BaseException], Diagnosis], ...]] = (
    (
        asyncpg.TargetServerAttributeNotMatched,
        Diagnosis("no server of the address fulfils target_session_attrs", _CORRECT),
    ),
    (UnicodeDecodeError, _NO_POSTGRES),
    *NETWORK,
    (
        asyncpg.InterfaceError,
        Diagnosis("the server and the driver have no authentication method in common", _CORRECT),
    ),
    (Exception, _NO_POSTGRES),
)
# The least telling last.
_TELLING: Final = (UnknownName, ConnectionRefusedError, TimeoutError)


def not_connected(error: Exception, address: DatabaseAddress | None) -> NotConnected:
    """Why no connection came about, for whatever was raised.

    Args:
        error: The fault of an address that can't be read, of all attempts, or anything else.
        address: The address, unless it can't be read.
    """
    if address is None:
        # Only our own words are free of the address.
        fault = error if type(error) is ValueError else ValueError("can't be read")
        return NotConnected(of_address(fault), error)
    if isinstance(error, NoneSucceeded):
        telling = min(error.failed, key=lambda each: _rank(each.error))
        return NotConnected(of_attempts(error.failed, address), telling.error, address.place)
    return NotConnected(of_error(error, address), error, address.place)


def of_address(fault: ValueError) -> Diagnosis:
    """The diagnosis of an address that can't be used; the fault's words hold nothing of it."""
    return Diagnosis(f"the address {fault}", _CORRECT)


def of_attempts(failed: Sequence[Failed], address: DatabaseAddress) -> Diagnosis:
    """The diagnosis of one failed attempt, or of several, at the addresses of the servers."""
    found = {each: of_error(each.error, address) for each in failed}
    telling = min(failed, key=lambda each: _rank(each.error))
    if len({each.what for each in found.values()}) == 1:
        return found[telling]
    each_of_them = ", ".join(f"{place}: {what}" for (place, _), (what, _) in found.items())
    return Diagnosis(f"no server can be used ({each_of_them})", found[telling].remedy)


def of_error(error: Exception, address: DatabaseAddress) -> Diagnosis:
    """The diagnosis of whatever the driver raised while it connected."""
    if isinstance(error, asyncpg.PostgresError):
        found = _refused(error, address)
        return found._replace(what=f"{found.what} ({words_of(error)})")
    if isinstance(error, UnusableFile):
        return of_address(error)
    if isinstance(error, UnknownName):
        return Diagnosis(str(error), f"correct the host name in {DSN}, or check DNS")
    found = _tls(error, address) or by_type(error, _BY_TYPE)
    if type(error) is OSError and error.strerror:
        return found._replace(what=f"{found.what} ({error.strerror})")
    return found


def _rank(error: Exception) -> int:
    return next((n for n, kind in enumerate(_TELLING, 1) if kind in type(error).__mro__), 0)


def _refused(error: asyncpg.PostgresError, address: DatabaseAddress) -> Diagnosis:
    said = words_of(error)
    if said.startswith("unsupported startup parameter"):
        return _PARAMETER
    if error.sqlstate == "28P01" and not _has_password(address):
        return _NO_PASSWORD
    if error.sqlstate == "28000" and ("no encryption" in said or "SSL off" in said):
        return _ONLY_ENCRYPTED
    return _BY_SQLSTATE.get(error.sqlstate or "") or diagnose(error)


def _has_password(address: DatabaseAddress) -> bool:
    """Whether there may be one in the address, or where the driver looks besides."""
    return bool(
        address.password
        or os.environ.get("PGPASSWORD")
        or address.words.get("passfile")
        or os.environ.get("PGPASSFILE")
        or Path("~/.pgpass").expanduser().exists()
    )


def _tls(error: Exception, address: DatabaseAddress) -> Diagnosis | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        by = " by the authorities of this system (sslrootcert=system)"
        return Diagnosis(
            f"the server's certificate can't be verified{by if address.trusts_system else ''}: "
            f"{error.verify_message}",
            certificate_remedy(error, DSN, _authority(address)),
        )
    if isinstance(error, asyncpg.exceptions.ClientConfigurationError):
        return _unusable(words_of(error))
    if isinstance(error, ConnectionError):
        if "rejected SSL upgrade" not in str(error):
            return None
        word = "sslrootcert=system" if address.trusts_system else "sslmode"
        return Diagnosis(
            "the server does not support TLS",
            f"set `ssl = on` there, with a certificate; or correct host, port or {word} in {DSN}",
        )
    if isinstance(error, OSError):
        return _of_the_environment(address) or _unencrypted(error)
    return None


def _authority(address: DatabaseAddress) -> str:
    if address.trusts_system:
        return (
            f"set sslrootcert in {DSN} to the authority that signed it: those of this system do "
            "not include it"
        )
    return (
        f"set sslrootcert in {DSN} to the authority that signed it, sslrootcert=system for a "
        "public one"
    )


def _unusable(message: str) -> Diagnosis:
    if message.startswith("root certificate file"):
        return Diagnosis(
            message,
            f"add sslrootcert=system, or sslrootcert with the authority that signed the server's "
            f"certificate, to {DSN}",
        )
    return Diagnosis(f"the address can't be used{message and f': {message}'}", _CORRECT)


def _unencrypted(error: OSError) -> Diagnosis | None:
    if not isinstance(error, ssl.SSLError):
        return None
    message = error.reason or str(error.args[-1])
    return Diagnosis(
        f"no encrypted connection could be established: {message}", f"{_CORRECT}: sslmode"
    )


def _of_the_environment(address: DatabaseAddress) -> Diagnosis | None:
    """A file that can't be read, and that one of libpq's own variables names."""
    for name in ("sslrootcert", "sslcert", "sslkey", "sslcrl"):
        variable = f"PG{name.upper()}"
        path = os.environ.get(variable, "")
        try:
            if path and name not in address.words:
                with open(path, "rb") as file:  # noqa: PTH123 - as the driver does
                    file.read(1)
        except OSError as error:
            what = f"{name} {path} can't be read: {error.strerror}"
            return Diagnosis(what, f"correct {variable}")
    return None
