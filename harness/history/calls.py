"""Calls: none for a token past its lifetime, none for nobody, none for what is known."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from harness.history.records import LIFETIME_SECONDS, RESOLVED, Finding, Kind, sha

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness.history.records import Call, History, Submission


def calls(sent: Mapping[str, Submission], found: History) -> Iterator[Finding]:
    """What reached AWS, against what was sent and what was known by then."""
    if found.calls is None:
        return
    born = _born(sent)
    probes = {sha(token.encode()) for token in found.strangers_to_aws}
    for call in found.calls:
        name = call.token_sha256.hex()[:16]
        if call.token_sha256 not in born:
            if call.token_sha256 not in probes:
                yield Finding(Kind.STRANGER, f"a call for {name}, which nobody sent")
        elif call.at > born[call.token_sha256] + LIFETIME_SECONDS:
            yield Finding(Kind.LATE_CALL, f"a call for {name} past its lifetime")
    yield from _after_resolved(found)


def _after_resolved(found: History) -> Iterator[Finding]:
    """Calls for what was known.

    An outcome's time is the database's as the worker has measured it, which may be off by as much
    as asking took. So it is not enough that a call comes later: another must have been answered
    before, by the clock of whoever answers.
    """
    of_token: defaultdict[bytes, list[Call]] = defaultdict(list)
    for call in found.calls or ():
        of_token[call.token_sha256].append(call)
    for row in found.outcomes:
        if row["status"] != RESOLVED:
            continue
        settled, made = row["settled_at"].timestamp(), of_token[row["token_sha256"]]
        if not made:
            yield Finding(Kind.WRONG, f"{row['message_id']} was resolved without a call")
            continue
        last = max(call.at for call in made)
        answered = any(call.answered is not None and call.answered < last for call in made)
        if found.one_process and last > settled and answered:
            yield Finding(Kind.DOUBLED, f"{row['message_id']} was called for though it was known")


def _born(sent: Mapping[str, Submission]) -> dict[bytes, float]:
    """When each token was first heard of."""
    born: dict[bytes, float] = {}
    for one in sent.values():
        if one.key is not None:
            born[one.key] = min(one.at, born.get(one.key, one.at))
    return born
