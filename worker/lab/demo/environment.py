"""What the demo's processes find in their environment: what it sets, and nothing it does not."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from worker.lab.demo.kinds import ACCESS_KEY, ATTEMPTS, TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DELAYS: Final = {"1s": 1.0, "2s": 2.0}
"""The retry queues, by name, with their seconds."""

_BROKER: Final = ("WORKER_AMQP__URL", "WORKER_AMQP__ADMIN_URL")
_DATABASE: Final = ("WORKER_POSTGRES__DSN", "WORKER_POSTGRES__ADMIN_DSN")
_PLAINTEXT: Final = "WORKER_ALLOW_PLAINTEXT"
_DELAYS: Final = "WORKER_RETRY__DELAYS"

_FOREIGN: Final = ("WORKER_", "AWS_")
_PROXIES: Final = frozenset({"http_proxy", "https_proxy", "all_proxy", "no_proxy"})


@dataclass(frozen=True, slots=True)
class Named:
    """The servers that the environment names; those it does not are private ones.

    Attributes:
        broker: The variables that name a broker; empty for none.
        database: Those that name a database.
        plaintext: The one that says whether they may be spoken to in plaintext.
        delays: The one that names the retry queues which others use on that broker.
    """

    broker: Mapping[str, str]
    database: Mapping[str, str]
    plaintext: Mapping[str, str]
    delays: Mapping[str, str]


def named(environ: Mapping[str, str]) -> Named:
    """Which servers an environment names; an empty variable names none."""
    return Named(
        broker=_group(environ, _BROKER),
        database=_group(environ, _DATABASE),
        plaintext=_some(environ, (_PLAINTEXT,)),
        delays=_some(environ, (_DELAYS,)),
    )


def _group(environ: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    """Nothing unless the first, the server itself, is there."""
    found = _some(environ, names)
    return found if names[0] in found else {}


def _some(environ: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    return {name: environ[name] for name in names if environ.get(name, "").strip()}


def broker_at(url: str) -> dict[str, str]:
    """The variables that name a private broker."""
    return {_BROKER[0]: url}


def database_at(dsn: str) -> dict[str, str]:
    """The variables that name a private database."""
    return {_DATABASE[0]: dsn}


def plain(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment without settings of the worker, AWS's and proxies.

    Real credentials never reach the simulator so, nor the demo's tokens the real AWS.
    """
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith(_FOREIGN) and name.lower() not in _PROXIES
    }


def endpoint_at(url: str) -> dict[str, str]:
    """The variable that names the simulator."""
    return {"WORKER_AWS__ENDPOINT_URL": url}


def settings(seal_key: str) -> dict[str, str]:
    """How the demo's workers are set, apart from what they connect to.

    Args:
        seal_key: The public key that dead letters are sealed to.
    """
    return {
        "WORKER_AWS__TIMEOUT": f"{TIMEOUT.total_seconds():.0f}s",
        "WORKER_RETRY__ATTEMPTS": str(ATTEMPTS),
        _DELAYS: ",".join(DELAYS),
        # The simulator has no quota here: there is nothing to search for.
        "WORKER_RATE__INITIAL": "10000",
        "WORKER_DEAD_LETTERS__SEAL_KEY": seal_key,
        "WORKER_HTTP__HOST": "127.0.0.1",
        "WORKER_HTTP__PORT": "0",
        "WORKER_LOG__FORMAT": "json",
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": ACCESS_KEY,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
