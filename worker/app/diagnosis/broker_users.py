"""Checks through the management interface: who may read whose answers, and which policies apply."""

from __future__ import annotations

import re
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
from worker.adapters.rabbitmq.topology import FORMER_ANSWERS
from worker.app.diagnosis.broker import wanted
from worker.app.diagnosis.finding import Cause, Failed, Passed
from worker.core.token.outgoing import ANSWERS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from worker.settings import Settings

_SETTING: Final = "WORKER_AMQP__MANAGEMENT_URL"
_ADMINISTRATOR: Final = "administrator"
_EVERY_CALLER: Final = "resolution.reply.#"
_ON_OURS: Final = ("all", "queues", "quorum_queues")
_BOUND: Final = "max-length-bytes"
# What a policy must not set on our queues: it would lose messages, or the queue itself.
_HARMFUL: Final[Mapping[str, str]] = {
    "expires": "deletes a queue without consumers, with all its messages",
    "message-ttl": "drops messages that wait for longer",
}


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
        if _matches(each["read"], ANSWERS)
        and each["write"] not in ("", NOTHING)
        and _ADMINISTRATOR not in _words(tags.get(each["user"], ()))
    ]


def _words(tags: object) -> list[str]:
    """The tags of a user; before 3.9 they were one text."""
    return tags.split(",") if isinstance(tags, str) else [str(tag) for tag in tags or ()]  # type: ignore[attr-defined]


def _matches(expression: str, name: str) -> bool:
    try:
        return expression != "" and re.search(expression, name) is not None
    except re.error:  # valid in Erlang but not in Python: report it, so that a person checks it
        return True


def _notes(binds: Mapping[str, str], *, former: bool) -> Iterable[str]:
    if wide := sorted(name for name, read in binds.items() if _matches(read, _EVERY_CALLER)):
        yield f"{', '.join(wide)} may bind every caller's keys"
    if former:
        yield (
            f"{FORMER_ANSWERS} still exists: through it each caller can read the others' answers. "
            f"Delete it once all callers bind {ANSWERS}"
        )


async def policies(settings: Settings) -> Passed:
    """No policy makes our queues lose messages."""
    vhost = _vhost(settings)
    async with _asking(settings) as interface:
        kinds = [await _all(interface, kind, vhost) for kind in ("policies", "operator-policies")]
    harmed: dict[str, str] = {}
    unbounded = []
    for queue in wanted(settings).queues:
        bearing = [found for some in kinds if (found := _bearing(some, queue.name))]
        if not any(_BOUND in each["definition"] for each in bearing):
            unbounded.append(queue.name)
        for each in bearing:
            for what in each["definition"].keys() & _HARMFUL.keys():
                if f"x-{what}" not in queue.arguments:
                    harmed[f"{each['name']} {_HARMFUL[what]} ({what})"] = queue.name
    if harmed:
        raise Failed(
            "; ".join(
                f"the policy {what}: it applies to {queue}" for what, queue in harmed.items()
            ),
            "set the policy of deploy/rabbitmq on ^resolution\\., with a higher priority: policies "
            "do not merge",
        )
    note = f"no policy bounds the bytes in {', '.join(unbounded)}: see deploy/rabbitmq"
    return Passed("no policy makes the worker's queues lose messages", (note,) if unbounded else ())


def _bearing(policies: Iterable[Any], queue: str) -> Any:
    """The policy that applies to a queue: the matching one with the highest priority, or None."""
    matching = [
        each
        for each in policies
        if each["apply-to"] in _ON_OURS and _matches(each["pattern"], queue)
    ]
    return max(matching, key=lambda each: int(each["priority"]), default=None)


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
