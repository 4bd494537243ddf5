"""Calls: none for a token past its lifetime, none for nobody, none for what is known."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from tests.history.records import LIFETIME_SECONDS, RESOLVED, Finding, Kind, sha

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.history.records import History, Submission


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
    times: defaultdict[bytes, list[float]] = defaultdict(list)
    for call in found.calls or ():
        times[call.token_sha256].append(call.at)
    for row in found.outcomes:
        if row["status"] != RESOLVED:
            continue
        settled, made = row["settled_at"].timestamp(), times[row["token_sha256"]]
        if not made:
            yield Finding(Kind.WRONG, f"{row['message_id']} was resolved without a call")
        elif found.one_process and max(made) > settled:
            yield Finding(Kind.DOUBLED, f"{row['message_id']} was called for though it was known")


def _born(sent: Mapping[str, Submission]) -> dict[bytes, float]:
    """When each token was first heard of."""
    born: dict[bytes, float] = {}
    for one in sent.values():
        if one.key is not None:
            born[one.key] = min(one.at, born.get(one.key, one.at))
    return born
