"""Why no connection to the database came about: the remedy fits the reason."""

from __future__ import annotations

import re
import ssl

import asyncpg
import pytest

from worker.adapters.postgres.connect_errors import not_connected, of_error
from worker.adapters.racing import Failed, NoneSucceeded
from worker.adapters.reach import UnknownName
from worker.core.addresses.postgres import read

DSN = "postgresql://u:hunter2@a.example,b.example/x?sslmode=verify-full&sslrootcert=system"


def said(state: str, message: str) -> asyncpg.PostgresError:
    """What a server or a pooler answers."""
    error = asyncpg.PostgresError.new({"C": state, "M": message})
    assert isinstance(error, asyncpg.PostgresError)
    return error


def unverified(code: int) -> ssl.SSLCertVerificationError:
    """A certificate that is refused for this reason."""
    error = ssl.SSLCertVerificationError("refused")
    error.verify_code, error.verify_message = code, "it is so"
    return error


PARAMETER = "refused a parameter of the address.+correct options in WORKER_POSTGRES__DSN.+PgBouncer"
REASONS: list[tuple[Exception, str]] = [
    (said("42704", 'unrecognized configuration parameter "x"'), PARAMETER),
    (said("22023", "invalid value for parameter"), PARAMETER),
    (said("08P01", "unsupported startup parameter: search_path"), PARAMETER),
    (said("08P01", "unsupported startup parameter in options: x"), PARAMETER),
    (said("08P01", "SASL authentication failed"), "refused the protocol.+pool by session"),
    (said("28P01", "password authentication failed"), "refused the password.+set the role's"),
    (said("28000", 'no pg_hba.conf entry for host "h", no encryption'), "sslmode=verify-full"),
    (said("28000", 'no pg_hba.conf entry for host "h", SSL off'), "sslmode=verify-full"),
    (said("28000", "no pg_hba.conf entry for host"), "pg_hba.conf"),
    (said("3D000", 'database "x" does not exist'), "create it"),
    (said("42501", "permission denied for database"), r"roles\.sql"),
    (unverified(62), "host name that the certificate is for"),
    (unverified(64), "host name that the certificate is for"),
    (unverified(10), "renew the server's certificate"),
    (unverified(9), "clock"),
    (unverified(18), "sslrootcert.+to the authority that signed it.+system.+do not include it"),
    (UnknownName("the host name h can't be resolved"), "resolved; correct the host name in WORK"),
    (ConnectionRefusedError(), "no server listens there"),
    (TimeoutError(), "did not answer in time"),
    (OSError(113, "No route to host"), r"can't be reached \(No route to host\)"),
]


@pytest.mark.parametrize(("error", "says"), REASONS)
def test_the_remedy_fits_the_reason(error: Exception, says: str) -> None:
    """What is wrong, and what is to be done about this and nothing else."""
    found = of_error(error, read(DSN))
    told = f"{found.what}; {found.remedy}"
    assert re.search(says, told)
    assert "hunter2" not in told
    if isinstance(error, ssl.SSLCertVerificationError) and error.verify_code != 18:
        assert "authority" not in found.remedy


def test_no_password_is_not_a_wrong_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none was sent, none is wrong; one from elsewhere may be."""
    address = read("postgresql://u@127.0.0.1/x")
    refused = said("28P01", "password authentication failed")
    monkeypatch.setenv("HOME", "/nonexistent")
    assert "the address has none" in of_error(refused, address).what
    monkeypatch.setenv("PGPASSWORD", "hunter2")
    assert "refused the password" in of_error(refused, address).what


def test_each_server_has_its_own_reason() -> None:
    """All are told; the remedy is that of the one that tells most."""
    refused = said("28P01", "password authentication failed")
    failed = [
        Failed("a:1", TimeoutError()),
        Failed("b:2", refused),
        Failed("c:3", ConnectionRefusedError()),
    ]
    fault = not_connected(NoneSucceeded(failed), read(DSN))
    assert fault.error is refused
    assert re.match(
        r"database at \S+: no server can be used \(a:1: the server did not answer in time, b:2: "
        r".+password.+, c:3: no server listens there\); set the role's password",
        str(fault),
    )
    alike = not_connected(NoneSucceeded([failed[2], failed[2]]), read(DSN))
    assert re.match(r"database at \S+: no server listens there; ", str(alike))
