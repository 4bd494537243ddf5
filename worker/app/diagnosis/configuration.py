"""Checks that need no other server: the settings, the seal key, the HTTP port."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final, TypeVar

from worker.adapters import http, local_worker
from worker.adapters.sealing import BadKey, Opener, Sealer
from worker.app.diagnosis.finding import Cause, Failed, Passed
from worker.app.diagnosis.role import skip_unless_worker
from worker.settings.model import KEYGEN

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.settings import Settings, SettingsError

_Made = TypeVar("_Made")

_OPENS: Final = (
    "WORKER_DEAD_LETTERS__OPEN_KEYS is set: that is right where dead letters are replayed; remove "
    "it from a worker's environment, which needs no private key"
)


def settings(accepted: Settings | None, fault: SettingsError | None) -> Passed:
    """All settings are valid."""
    if accepted is None:
        faults = tuple(fault.faults) if fault else ()
        count = "1 setting" if len(faults) == 1 else f"{len(faults)} settings"
        raise Failed(
            f"{count} can't be accepted",
            "correct the settings named here; config/worker.toml is an annotated example",
            Cause.CONFIGURATION,
            faults,
        )
    notes = [accepted.passed_over] if accepted.passed_over else []
    if accepted.allow_plaintext:
        notes.append(
            "WORKER_ALLOW_PLAINTEXT is true: connections beyond loopback may be read by others"
        )
    return Passed("all settings can be accepted", tuple(notes))


async def seal_key(accepted: Settings) -> Passed:
    """Payloads of dead letters can be sealed; if open keys are set, one of them opens them."""
    key = accepted.dead_letters.seal_key
    if key is None:
        await skip_unless_worker(accepted)
        (fault,) = accepted.faults_for_run()
        what, _, remedy = fault.partition("; ")
        raise Failed(what, remedy, Cause.CONFIGURATION)
    key_id = _made(lambda: Sealer(key), "WORKER_DEAD_LETTERS__SEAL_KEY").key_id
    opening = [each.get_secret_value() for each in accepted.dead_letters.open_keys]
    if not opening:
        return Passed(f"key {key_id}")
    opener = _made(lambda: Opener(opening), "WORKER_DEAD_LETTERS__OPEN_KEYS")
    if key_id not in opener.key_ids:
        raise Failed(
            f"no key of WORKER_DEAD_LETTERS__OPEN_KEYS opens what key {key_id} seals",
            "put the private key that `keygen` printed beside it first in that list",
            Cause.CONFIGURATION,
        )
    return Passed(f"key {key_id}, and the key that opens it", (_OPENS,))


def _made(make: Callable[[], _Made], name: str) -> _Made:
    try:
        return make()
    except BadKey as error:
        raise Failed(f"{name}: {error}", KEYGEN, Cause.CONFIGURATION) from error


async def http_port(accepted: Settings) -> Passed:
    """The port for metrics and probes is free, or in use by a worker."""
    host, port = accepted.http.host, accepted.http.port
    if port == 0:
        return Passed("port 0: each worker takes a free one")
    fault = await local_worker.port_fault(host, port)
    if fault is None:
        return Passed(f"{host}:{port} is free")
    if fault.errno != errno.EADDRINUSE:
        raise Failed(*http.refusal(host, port, fault), Cause.UNREACHABLE)
    worker = await local_worker.readings(host, port)
    if worker is None:
        raise Failed(*http.refusal(host, port, fault), Cause.UNREACHABLE)
    return Passed(f"{host}:{port} is in use by a worker (version {worker.version})")
