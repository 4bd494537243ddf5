"""`dead-letters reseal`: moves what is sealed to a new pair of keys."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson
import typer

from worker.adapters.postgres.dead_letters.commands import acting
from worker.adapters.postgres.operator.audit import Entry
from worker.adapters.postgres.operator.errors import told_operator
from worker.adapters.postgres.sessions import connector
from worker.adapters.sealing import BadKey, CannotOpen, Sealer
from worker.cli.dead_letters import filters, options
from worker.cli.dead_letters.format_values import counted, instant, wrapped
from worker.cli.dead_letters.progress import progress
from worker.cli.exits import BAD_CONFIGURATION, PARTLY_FAILED, UNAVAILABLE, failure
from worker.cli.settings import ConfigOption, settings_of
from worker.core.exceptions import LedgerUnavailable, RowsRefused

if TYPE_CHECKING:
    from worker.adapters.sealing import Opener
    from worker.core.dead_letters.commands import Actor, KeyUse
    from worker.core.dead_letters.views import SealedPayload
    from worker.settings import Settings

_BATCH: Final = 200


@dataclass(slots=True)
class _Done:
    """How many were sealed anew, how many no key opens, by key, and what is sealed to which."""

    key: str
    resealed: int = 0
    unopened: dict[str, int] = field(default_factory=dict)
    uses: list[KeyUse] = field(default_factory=list)
    stopped: str | None = None


def reseal(
    *,
    dry_run: options.DryRunOption = False,
    reason: options.WhyOption = None,
    actor: options.ActorOption = None,
    config: ConfigOption = None,
    json: filters.JsonOption = False,
) -> None:
    """Seals payloads anew to WORKER_DEAD_LETTERS__SEAL_KEY, for a rotation of the pair.

    Opens them with any of WORKER_DEAD_LETTERS__OPEN_KEYS. It may be stopped and repeated. At the
    end it says which keys are still needed. Exits with 1 if some payloads could not be opened.

    \b
    The rotation: 1. `keygen`. 2. Put the new private key before the old one in OPEN_KEYS wherever
    it is set. 3. Put the new public key into SEAL_KEY of every worker, and restart them.
    4. `dead-letters reseal`. 5. Drop the old private key once it says that it is not needed.
    """  # noqa: D301 - \b is click's mark for lines to be left as they are
    who = options.who(actor, reason, needed=not dry_run)
    settings = settings_of(config)
    opener, sealer = options.opener_of(settings), _sealer(settings)
    done = _run(settings, who, opener, sealer, dry_run=dry_run)
    _print_json(done, opener) if json else _print_text(done, opener)
    raise typer.Exit(PARTLY_FAILED if done.stopped or done.unopened else 0)


def _sealer(settings: Settings) -> Sealer:
    key = settings.dead_letters.seal_key
    if key is None:
        raise failure(
            "no key to seal to: set WORKER_DEAD_LETTERS__SEAL_KEY to the new public key, as the "
            "workers have it",
            BAD_CONFIGURATION,
        )
    try:
        return Sealer(key)
    except BadKey as error:
        raise failure(f"WORKER_DEAD_LETTERS__SEAL_KEY: {error}", BAD_CONFIGURATION) from None


def _run(settings: Settings, who: Actor, opener: Opener, sealer: Sealer, *, dry_run: bool) -> _Done:
    if sealer.key_id not in opener.key_ids:
        raise failure(
            f"WORKER_DEAD_LETTERS__OPEN_KEYS has no private key for {sealer.key_id}, to which "
            "WORKER_DEAD_LETTERS__SEAL_KEY seals: nobody could open what is sealed anew. Add it",
            BAD_CONFIGURATION,
        )
    try:
        return asyncio.run(_act(settings, who, opener, sealer, dry_run=dry_run))
    except (LedgerUnavailable, RowsRefused) as error:
        raise failure(
            f"{told_operator(str(error))}; nothing was sealed anew", UNAVAILABLE
        ) from None


async def _act(
    settings: Settings, who: Actor, opener: Opener, sealer: Sealer, *, dry_run: bool
) -> _Done:
    done = _Done(sealer.key_id)
    connect = connector(settings.current_postgres_dsn, command_seconds=30.0)
    async with acting(connect) as letters:
        done.uses = await letters.key_uses()
        if dry_run or all(use.key_id == done.key for use in done.uses):
            return done
        await letters.record(_entry(who, done, ""))
        try:
            await _reseal(letters, who, opener, sealer, done)
            await letters.record(_entry(who, done, ".end"))
            done.uses = await letters.key_uses()
        except LedgerUnavailable as error:
            done.stopped = told_operator(str(error))
    return done


def _entry(who: Actor, done: _Done, phase: str) -> Any:
    subject: dict[str, Any] = {"key": done.key}
    if phase:
        unopened = sum(done.unopened.values())
        subject |= {"resealed": done.resealed, "unopened": unopened}
    return Entry(*who, f"dead-letters.reseal{phase}", subject)


async def _reseal(letters: Any, who: Actor, opener: Opener, sealer: Sealer, done: _Done) -> None:
    unopened: list[str] = []

    def seal(letter: SealedPayload) -> bytes | None:
        try:
            return sealer.seal(opener.open(letter.sealed or b""))
        except CannotOpen:
            unopened.append(letter.seal_key_id)
            return None

    total = sum(use.letters for use in done.uses if use.key_id != done.key)
    after = 0
    with options.stopping_on_signals() as stopping, progress("sealing", total) as tell:
        while not stopping.is_set():
            unopened.clear()
            batch = await letters.reseal(done.key, who, after, _BATCH, seal)
            if not batch:
                return
            after = batch[-1].id
            done.resealed += len(batch) - len(unopened)
            for key in unopened:
                done.unopened[key] = done.unopened.get(key, 0) + 1
            tell(done.resealed)
        done.stopped = "interrupted"


def _print_text(done: _Done, opener: Opener) -> None:
    typer.echo(f"{counted(done.resealed, 'payload')} sealed anew to {done.key}")
    for use in done.uses:
        newest = f"the newest failed at {instant(use.newest)} UTC"
        for line in wrapped(f"{use.key_id}: {counted(use.letters, 'payload')}, {newest}", "  "):
            typer.echo(line)
    for line in _advice(done, opener):
        typer.echo(line, err=True)


def _advice(done: _Done, opener: Opener) -> list[str]:
    advice = [
        f"{count} sealed to {key} can't be opened: add its private key to "
        "WORKER_DEAD_LETTERS__OPEN_KEYS, or discard them"
        for key, count in done.unopened.items()
    ]
    if done.stopped:
        return [*advice, f"stopped: {done.stopped}; repeat the command to go on"]
    used = {use.key_id for use in done.uses}
    for key in opener.key_ids:
        if key != done.key and key not in used:
            advice.append(
                f"nothing is sealed to {key} any more: drop its private key once every worker "
                f"runs with the new WORKER_DEAD_LETTERS__SEAL_KEY ({done.key})"
            )
        elif key != done.key:
            advice.append(f"{key} is still needed: repeat the command before dropping it")
    return advice


def _print_json(done: _Done, opener: Opener) -> None:
    told = {
        "key": done.key,
        "resealed": done.resealed,
        "unopened": done.unopened,
        "sealed_to": [use._asdict() for use in done.uses],
        "can_be_dropped": sorted(
            set(opener.key_ids) - {use.key_id for use in done.uses} - {done.key}
        ),
        "stopped": done.stopped,
    }
    typer.echo(orjson.dumps(told).decode())
