"""Checks through the management interface: who may read whose answers, and which policies apply."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from worker.adapters.rabbitmq import probing
from worker.adapters.rabbitmq.management import (
    Management,
    ManagementRefused,
    ManagementUnavailable,
    management,
)
from worker.adapters.rabbitmq.permissions import NOTHING
from worker.adapters.rabbitmq.policies import BYTES, applied, harms, matches
from worker.adapters.rabbitmq.topology import FORMER_ANSWERS
from worker.app.diagnosis.broker import wanted
from worker.app.diagnosis.finding import Cause, Failed, Passed, Skipped
from worker.core.token.outgoing import ANSWERS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from worker.adapters.rabbitmq.policies import Harm
    from worker.settings import Settings

_SETTING: Final = "WORKER_AMQP__MANAGEMENT_URL"
_ADMINISTRATOR: Final = "administrator"
_EVERY_CALLER: Final = "resolution.reply.#"


async def callers(settings: Settings) -> Passed:
    """Each user who may bind a queue to the exchange of answers is limited to keys of its own."""
    vhost = _vhost(settings)
    async with _asking(settings) as interface:
        users = await _all(interface, "users")
        rights = await _all(interface, "vhosts", vhost, "permissions")
        topics = await _all(interface, "vhosts", vhost, "topic-permissions")
        exchanges = {each["name"] for each in await _all(interface, "exchanges", vhost)}
    binds = {each["user"]: each["read"] for each in topics if each["exchange"] == ANSWERS}
    known = _who_may_bind(users, rights)
    if unbound := sorted(set(known) - binds.keys()):
        raise Failed(
            f"{', '.join(unbound)} may bind every key of {ANSWERS}, and so read all answers",
            "give each topic permissions: `resolution-worker topology users`, or see "
            "deploy/rabbitmq; revoke `read` on it from users who should receive no answers",
        )
    former = FORMER_ANSWERS in exchanges
    notes = tuple(_notes({name: binds[name] for name in known}, former=former))
    return Passed(f"{len(known)} users may receive answers, each under keys of its own", notes)


def _who_may_bind(users: Iterable[Any], rights: Iterable[Any]) -> list[str]:
    """Users who may read the exchange and write some queue; administrators are left out."""
    tags = {each["name"]: each["tags"] for each in users}
    return [
        each["user"]
        for each in rights
        if matches(each["read"], ANSWERS)
        and each["write"] not in ("", NOTHING)
        and _ADMINISTRATOR not in _words(tags.get(each["user"], ()))
    ]


def _words(tags: object) -> list[str]:
    """The tags of a user; before 3.9 they were one text."""
    return tags.split(",") if isinstance(tags, str) else [str(tag) for tag in tags or ()]  # type: ignore[attr-defined]


def _notes(binds: Mapping[str, str], *, former: bool) -> Iterable[str]:
    if wide := sorted(name for name, read in binds.items() if matches(read, _EVERY_CALLER)):
        yield f"{', '.join(wide)} may bind every caller's keys"
    if former:
        yield (
            f"{FORMER_ANSWERS} still exists: through it each caller can read the others' answers. "
            f"Delete it once all callers bind {ANSWERS}"
        )


async def policies(settings: Settings) -> Passed:
    """No policy makes our queues lose messages."""
    if settings.amqp.management_url is None:
        raise Skipped(NOT_LOOKED_AT)
    harmful, unbounded = await policy_harms(settings)
    if harmful:
        raise Failed("; ".join(each.text for each in harmful), policy_remedy(harmful))
    note = f"no policy bounds the bytes in {', '.join(unbounded)}: see deploy/rabbitmq"
    return Passed("no policy makes the worker's queues lose messages", (note,) if unbounded else ())


async def policy_harms(settings: Settings) -> tuple[list[Harm], list[str]]:
    """What policies do to our queues, and which queues none bounds in bytes.

    Raises:
        Failed: The management interface can't be asked.
    """
    vhost, topology = _vhost(settings), wanted(settings)
    async with _asking(settings) as interface:
        kinds = [await _all(interface, kind, vhost) for kind in ("policies", "operator-policies")]
    unbounded = [
        queue.name
        for queue in topology.queues
        if not any(BYTES in (applied(some, queue.name) or _NONE)["definition"] for some in kinds)
    ]
    return harms(topology, *kinds), unbounded


def policy_remedy(harmful: Iterable[Harm]) -> str:
    """What to do about policies that do harm."""
    kinds = {each.operator for each in harmful}
    remedies = []
    if False in kinds:
        remedies.append(
            "set the policy of deploy/rabbitmq on ^resolution\\., with a higher priority: policies "
            "do not merge, so it shuts the other out"
        )
    if True in kinds:
        remedies.append(
            "operator policies merge with all others, so no policy of ours shuts one out: give it "
            "a pattern that does not match our queues (`rabbitmqctl set_operator_policy`), or "
            "clear it (`rabbitmqctl clear_operator_policy`)"
        )
    return "; ".join(remedies)


NOT_LOOKED_AT: Final = (
    "because WORKER_AMQP__MANAGEMENT_URL is not set: whether a policy (`expires`, `message-ttl`, "
    "`overflow`) makes the worker's queues lose messages is not known"
)
_NONE: Final[Mapping[str, Any]] = {"definition": {}}


def _vhost(settings: Settings) -> str:
    return probing.who_and_where(settings.current_amqp_url())[1]


async def _all(interface: Management, *path: str) -> list[Any]:
    found = await interface.get(*path)
    if not isinstance(found, list):
        raise ManagementRefused(
            "it does not know this virtual host, or does not show it to this user"
        )
    return found


@asynccontextmanager
async def _asking(settings: Settings) -> AsyncIterator[Management]:
    url = settings.current_amqp_management_url()
    assert url is not None
    try:
        async with management(url) as interface:
            yield interface
    except (ManagementUnavailable, ManagementRefused) as error:
        what, _, remedy = str(error).partition("; ")
        unreachable = isinstance(error, ManagementUnavailable)
        raise Failed(
            f"the management interface: {what}",
            f"{remedy or 'give its user the tag administrator'}; the address is {_SETTING}",
            Cause.UNREACHABLE if unreachable else Cause.SETUP,
        ) from None
