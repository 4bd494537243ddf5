"""`dead-letters reseal`: seals payloads again, to the public key of a new pair."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import typer

from worker.adapters.postgres.operator.audit import Entry
from worker.adapters.postgres.operator.errors import told_operator
from worker.adapters.sealing import BadKey, CannotOpen, Opener, Sealer
from worker.cli.dead_letters import shared
from worker.cli.dead_letters.format_values import counted, instant, wrapped
from worker.cli.exits import BAD_CONFIGURATION, PARTLY_FAILED, failure
from worker.cli.options import ConfigOption, JsonOption, with_option_groups
from worker.cli.printing import print_json
from worker.cli.running import progress
from worker.cli.settings import settings_of
from worker.core.exceptions import LedgerUnavailable

if TYPE_CHECKING:
    from worker.adapters.postgres.dead_letters.commands import DeadLetterCommands
    from worker.core.dead_letters.commands import Actor, KeyUse
    from worker.core.dead_letters.views import SealedPayload
    from worker.settings import Settings

_BATCH: Final = 200


@dataclass(frozen=True, slots=True)
class _Keys:
    """What opens payloads, and what seals them again."""

    opener: Opener
    sealer: Sealer


@dataclass(slots=True)
class _Done:
    """How many were sealed again, how many no key opens, by key, and what is sealed to which."""

    key: str
    resealed: int = 0
    unopened: dict[str, int] = field(default_factory=dict)
    uses: list[KeyUse] = field(default_factory=list)
    stopped: str | None = None


@with_option_groups
def reseal(
    intent: shared.IntentOptions,
    *,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Seals payloads again to WORKER_DEAD_LETTERS__SEAL_KEY, for a rotation of the pair of keys.

    Opens them with any of WORKER_DEAD_LETTERS__OPEN_KEYS. It may be stopped and repeated. At the
    end it shows which keys are still needed. Exits with 1 if some payloads could not be opened.

    \b
    The rotation:
    1. `keygen`.
    2. Put the new private key before the old one in OPEN_KEYS everywhere.
    3. Put the new public key into SEAL_KEY of every worker, and restart them.
    4. `dead-letters reseal`.
    5. Remove the old private key once this says that it is not needed.
    """  # noqa: D301 - \b is click's mark for lines to be left as they are
    settings = settings_of(config)
    keys = _keys(settings)
    done = shared.act(
        settings,
        lambda commands: _work(commands, intent, keys),
        "nothing was sealed again",
    )
    _print_json(done, keys.opener) if json else _print_text(done, keys.opener)
    raise typer.Exit(PARTLY_FAILED if done.stopped or done.unopened else 0)


def _keys(settings: Settings) -> _Keys:
    opener, key = shared.opener_of(settings), settings.dead_letters.seal_key
    if key is None:
        raise failure(
            "no key to seal to: set WORKER_DEAD_LETTERS__SEAL_KEY to the new public key, as the "
            "workers have it",
            BAD_CONFIGURATION,
        )
    try:
        sealer = Sealer(key)
    except BadKey as error:
        raise failure(f"WORKER_DEAD_LETTERS__SEAL_KEY: {error}", BAD_CONFIGURATION) from None
    if sealer.key_id not in opener.key_ids:
        raise failure(
            f"WORKER_DEAD_LETTERS__OPEN_KEYS has no private key for {sealer.key_id}, to which "
            "WORKER_DEAD_LETTERS__SEAL_KEY seals: nobody could open the payloads afterwards. Add "
            "it",
            BAD_CONFIGURATION,
        )
    return _Keys(opener, sealer)


async def _work(commands: DeadLetterCommands, intent: shared.Intent, keys: _Keys) -> _Done:
    done = _Done(keys.sealer.key_id)
    done.uses = await commands.key_uses()
    if intent.dry_run or all(use.key_id == done.key for use in done.uses):
        return done
    await commands.record(Entry(*intent.who, "dead-letters.reseal", {"key": done.key}))
    try:
        await _reseal(commands, intent.who, keys, done)
        subject = {
            "key": done.key,
            "resealed": done.resealed,
            "unopened": sum(done.unopened.values()),
        }
        await commands.record(Entry(*intent.who, "dead-letters.reseal.end", subject))
        done.uses = await commands.key_uses()
    except LedgerUnavailable as error:
        done.stopped = told_operator(str(error))
    return done


async def _reseal(commands: DeadLetterCommands, who: Actor, keys: _Keys, done: _Done) -> None:
    unopened: list[str] = []

    def seal(letter: SealedPayload) -> bytes | None:
        try:
            return keys.sealer.seal(keys.opener.open(letter.sealed or b""))
        except CannotOpen:
            unopened.append(letter.seal_key_id)
            return None

    total = sum(use.letters for use in done.uses if use.key_id != done.key)
    after = 0
    with shared.stopping_after_batch() as stopping, progress("sealing", total) as show:
        while not stopping.is_set():
            unopened.clear()
            batch = await commands.reseal(done.key, who, after, _BATCH, seal)
            if not batch:
                return
            after = batch[-1].id
            done.resealed += len(batch) - len(unopened)
            for key in unopened:
                done.unopened[key] = done.unopened.get(key, 0) + 1
            show(done.resealed)
        done.stopped = "interrupted"


def _print_text(done: _Done, opener: Opener) -> None:
    typer.echo(f"{counted(done.resealed, 'payload')} sealed again, to {done.key}")
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
                f"nothing is sealed to {key} any more: remove its private key once every worker "
                f"runs with the new WORKER_DEAD_LETTERS__SEAL_KEY ({done.key})"
            )
        elif key != done.key:
            advice.append(f"{key} is still needed: repeat the command before you remove it")
    return advice


def _print_json(done: _Done, opener: Opener) -> None:
    used = {use.key_id for use in done.uses}
    result: dict[str, Any] = {
        "key": done.key,
        "resealed": done.resealed,
        "unopened": done.unopened,
        "sealed_to": [use._asdict() for use in done.uses],
        "can_be_dropped": sorted(set(opener.key_ids) - used - {done.key}),
        "stopped": done.stopped,
    }
    print_json(result)
