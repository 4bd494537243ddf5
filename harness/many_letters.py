"""Dead letters by the thousand, as an incident leaves them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from worker.core.dead_letters import grouping

if TYPE_CHECKING:
    from collections.abc import Iterator


class Kind(NamedTuple):
    """One sort of failure."""

    reason: str
    error_code: str
    error_message: str
    redeemable: bool


KINDS: Final = (
    Kind("rejected", "InvalidTokenException", "The registration token is invalid.", True),
    Kind("dead", "Timeout", "no answer within 5 s", True),
    Kind("dead", "ConnectionFault", "Cannot connect to host 10.0.0.7:443", True),
    Kind("dead", "InternalServiceErrorException", "An internal error has occurred.", True),
    Kind("expired", "ExpiredTokenException", "The registration token has expired.", False),
    Kind("expired", "LifetimeExceeded", "the token was older than its lifetime", False),
    Kind("malformed", "TokenMissing", "there is no registration_token", False),
    Kind("malformed", "BodyTooLarge", "the body has 70001 bytes; at most 65536", False),
    Kind("parked", "DeliveryLimit", "the broker delivered it too often", True),
    *(
        Kind("dead", f"ServiceFault{letter}", f"service {letter} failed", True)
        for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    ),
)

# Every hundredth letter each is of another seller, and closed one way or another. A third of those
# that could be redeemed has expired; the rest does between half an hour and four and a half hours
# from now, so that none expires between two looks at them.
_KEEP: Final = """
INSERT INTO resolution.dead_letter (
    state, seller, reason, error_code, error_message, token_sha256, body_sha256, message_id,
    correlation_id, lane, metadata, attempts, received_at, first_failed_at, failed_at,
    redeemable_until, sealed, seal_key_id, body_bytes, group_key, grouped_at
)
SELECT
    CASE WHEN n % 100 = 7 THEN (ARRAY['resolved', 'discarded', 'archived'])[1 + n / 100 % 3]
        ELSE 'open' END,
    CASE WHEN n % 100 = 3 THEN 'second' ELSE 'default' END,
    kind ->> 'reason', kind ->> 'error_code', kind ->> 'error_message',
    sha256(('token' || n)::bytea), sha256(('body' || n)::bytea), gen_random_uuid()::text,
    gen_random_uuid()::text, 'live', '{"session": "' || md5(n::text) || '"}', 1,
    failed_at - interval '20 s', failed_at, failed_at,
    CASE WHEN (kind ->> 'redeemable')::boolean
        THEN until + CASE WHEN until > now() THEN interval '30 min' ELSE interval '0' END END,
    decode(repeat(md5(n::text), 20), 'hex'), '0123456789abcdef', 200,
    kind ->> 'group_key', failed_at
FROM generate_series(1, $2::integer) AS n,
    LATERAL (SELECT now() - interval '6 h' * n / $2 AS failed_at) AS times,
    LATERAL (SELECT failed_at - interval '20 s' + interval '4 h' AS until) AS ends,
    LATERAL (
        -- The first sorts are common, the others rare.
        SELECT $1::text::jsonb -> (
            CASE WHEN n % 50 = 0 THEN n / 50 % jsonb_array_length($1::text::jsonb) ELSE n % 9 END
        ) AS kind
    ) AS kinds
ORDER BY n DESC
"""
_TELL: Final = """
INSERT INTO resolution.letter_event (letter_id, at, kind, error_code, error_message, attempts)
SELECT id, failed_at, 'failed', error_code, error_message, attempts FROM resolution.dead_letter
"""


def _kinds() -> Iterator[dict[str, Any]]:
    for kind in KINDS:
        yield kind._asdict() | {"group_key": grouping.key(*kind[:3])}


async def keep_many(connection: Any, count: int) -> None:
    """Keep so many letters of the last six hours, with their history."""
    await connection.execute(_KEEP, orjson.dumps(list(_kinds())).decode(), count, timeout=120)
    await connection.execute(_TELL, timeout=120)
