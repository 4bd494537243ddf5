"""Whose fault an error of the database is, and what the operator is told."""

from __future__ import annotations

import re
import ssl

import asyncpg
import pytest

from worker.adapters.postgres.errors import (
    BY_SQLSTATE,
    is_collision,
    leaves_session_sound,
    translate,
    translated,
)
from worker.core.exceptions import LedgerUnavailable, RowsRefused

SECRET = "customer 012345678901"


def server_error(state: str, **fields: str) -> asyncpg.PostgresError:
    """An error as the driver makes it from what the server says."""
    said = {"C": state, "M": f"said about {state}", "D": f"Failing row contains ({SECRET})."}
    error = asyncpg.PostgresError.new(said | fields)
    assert isinstance(error, asyncpg.PostgresError)
    return error


@pytest.mark.parametrize(
    "state", ["22021", "22P05", "22003", "23502", "23514", "54000", "44000", "P0001", "21000"]
)
def test_data_faults_are_the_rows(state: str) -> None:
    """What the data itself can never get past refuses the rows, without quoting them."""
    refusal = translate(server_error(state, n="ledger_check"))
    assert isinstance(refusal, RowsRefused)
    assert state in str(refusal)
    assert "ledger_check" in str(refusal)
    assert SECRET not in str(refusal)


@pytest.mark.parametrize(
    "state",
    [*(state.ljust(5, "0") for state in BY_SQLSTATE), "08006", "0A000", "25006", "42601", "ZZZZZ"],
)
def test_all_else_is_ours(state: str) -> None:
    """Every other condition, known or not, is the database's: rows are kept, a remedy is named."""
    fault = translate(server_error(state))
    assert isinstance(fault, LedgerUnavailable)
    what, _, remedy = str(fault).partition(f" (said about {state}); ")
    assert what
    assert remedy
    assert SECRET not in str(fault)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (server_error("28P01"), "password.+WORKER_POSTGRES__DSN"),
        (server_error("3D000"), "does not exist.+create it"),
        (server_error("42P01"), "lacks a table.+resolution-worker migrate"),
        (server_error("42501"), r"lacks a right.+grants\.sql"),
        (server_error("25006"), "read-only.+standby"),
        (server_error("53100"), "disk is full.+free space"),
        (server_error("53300"), "no free connection.+max_connections"),
        (server_error("57014"), "took too long"),
        (server_error("57P01"), "ended the session"),
        (server_error("08006"), "connection to the server was lost"),
        (ConnectionRefusedError(111, "Connect call failed"), "no server listens.+start"),
        (ConnectionResetError(), "connection to the server was lost"),
        (TimeoutError(), "did not answer in time"),
        (ssl.SSLCertVerificationError("expired"), "certificate can't be verified"),
        (OSError(113, "No route to host"), "can't be reached"),
        (asyncpg.InterfaceError("connection is closed"), "connection to the server was lost"),
    ],
)
def test_the_operator_is_told_what_and_how(error: BaseException, says: str) -> None:
    """The message names what is the matter and then what can be done."""
    assert re.search(says, str(translate(error)))


def test_the_cause_is_kept() -> None:
    """The driver's own error is the cause of the translated one."""
    error = ConnectionResetError("reset")
    with pytest.raises(LedgerUnavailable) as caught, translated():
        raise error
    assert caught.value.__cause__ is error


def test_bugs_are_not_dressed_up() -> None:
    """An error that is neither the driver's nor the system's travels on as it is."""
    with pytest.raises(KeyError), translated():
        raise KeyError("bug")


@pytest.mark.parametrize("state", ["40001", "40P01"])
def test_collisions_are_run_again(state: str) -> None:
    """After a collision the same transaction is run again, on the same session."""
    assert is_collision(server_error(state))
    assert leaves_session_sound(server_error(state))


def test_refused_data_does_not_cost_the_session() -> None:
    """After refused data the session may be kept, and the same is not tried again."""
    assert leaves_session_sound(server_error("22021"))
    assert not is_collision(server_error("22021"))


@pytest.mark.parametrize("error", [server_error("57014"), server_error("25006"), TimeoutError()])
def test_a_session_in_doubt_is_dropped(error: BaseException) -> None:
    """After anything else the session is not used again: its server may be the wrong one."""
    assert not leaves_session_sound(error)
    assert not is_collision(error)
