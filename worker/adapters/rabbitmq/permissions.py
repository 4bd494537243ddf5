"""Who may do what on the broker, as data; `deploy/rabbitmq` has the same as lists, with reasons.

A right is a regular expression over names of queues and exchanges and, on a topic exchange, over
routing keys. A user without any topic right may publish and bind under every key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

NOTHING: Final = "^$"
CALLER_NAME: Final = r"[A-Za-z0-9_-]+"
"""A caller's name is a word of its keys and a part of its rights: it may mean nothing in either."""


@dataclass(frozen=True, slots=True)
class Rights:
    """What one user may do.

    Attributes:
        configure: What it may declare and delete.
        write: What it may publish to, and which queues it may bind.
        read: What it may consume, and which exchanges it may bind queues to.
        publish: Under which keys of `resolution.answers`; None where it has no line there.
        bind: Likewise, which it may bind.
    """

    configure: str = NOTHING
    write: str = NOTHING
    read: str = NOTHING
    publish: str | None = None
    bind: str | None = None


ROLES: Final[Mapping[str, Rights]] = {
    "resolution_worker": Rights(
        # resolution.replies is where workers of the release before send replies.
        write=r"^resolution\.(internal|retry\..+|answers|replies|events|state)$",
        # Retry queues are read to keep them in use, so that no policy lets them expire.
        read=r"^resolution\.(tokens|backlog|crowd|parked|retry\..+)$",
        # A key that is refused closes the channel, and strangers choose keys: any of them will do.
        publish=r"^resolution\.reply\.",
        bind=NOTHING,
    ),
    "resolution_operator": Rights(write=r"^resolution\.internal$"),
    "resolution_publisher": Rights(write="^resolution$"),
    "resolution_admin": Rights(
        configure=r"^resolution(\..+)?$",
        write=r"^resolution(\..+)?$",
        read=r"^resolution(\..+)?$",
        publish=NOTHING,
        bind="^#$",  # the exchange of the release before
    ),
}


def of_caller(name: str) -> Rights:
    """What a web tier that waits for replies may do.

    Args:
        name: Its user's, as `CALLER_NAME`.
    """
    own = rf"resolution\.reply\.{name}\."
    return Rights(
        configure=f"^{own}.+$",
        write=rf"^resolution(\.reply\.{name}\..+)?$",
        read=rf"^resolution\.(answers|replies|state|reply\.{name}\..+)$",
        publish=NOTHING,
        bind=f"^{own}",
    )


POLICY: Final = "resolution"
POLICY_BODY: Final[Mapping[str, object]] = {
    "pattern": r"^resolution\.",
    "apply-to": "queues",
    "priority": 100,
    "definition": {"max-length-bytes": 4 << 30},
}
"""The one policy of our queues. Policies do not merge: with this one on a queue, none of a lower
priority that lets messages expire, or drops the oldest, has a say."""
