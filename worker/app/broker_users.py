"""Creates the broker's users through its management interface, where `rabbitmqctl` is unavailable.

Does what `deploy/rabbitmq/create-users.sh` does, with the same rights.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from worker.adapters.rabbitmq.management import ManagementRefused
from worker.adapters.rabbitmq.permissions import (
    CALLER_NAME,
    NOTHING,
    POLICY,
    POLICY_BODY,
    ROLES,
    of_caller,
)
from worker.core.encodings import decoded
from worker.core.token.outgoing import ANSWERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from worker.adapters.rabbitmq.management import Management
    from worker.adapters.rabbitmq.permissions import Rights

_SALT_BYTES: Final = 4
_HASHES: Final[Mapping[str, str]] = {
    "rabbit_password_hashing_sha256": "sha256",
    "rabbit_password_hashing_sha512": "sha512",
}


class BadName(ValueError):
    """A name that a caller can't have."""


@dataclass(frozen=True, slots=True)
class Made:
    """The result for one user.

    Attributes:
        action: `created`, `updated`, `left out` or `refused`.
        detail: Why it was left out or refused, and what to do.
    """

    user: str
    action: str
    detail: str = ""


def planned(callers: Sequence[str], suffix: str = "") -> dict[str, Rights]:
    """The users to create, and their rights.

    Args:
        callers: Web tiers that wait for replies.
        suffix: Appended to the name of each user.

    Raises:
        BadName: A caller or the suffix has characters that `CALLER_NAME` does not allow.
    """
    users = {f"{role}{suffix}": rights for role, rights in ROLES.items()}
    for caller in callers:
        name = f"{caller}{suffix}"
        if not re.fullmatch(CALLER_NAME, name):
            raise BadName(f"{name}: a caller's name may contain only letters, digits, _ and -")
        users[name] = of_caller(name)
    return users


async def make(
    interface: Management, vhost: str, users: Mapping[str, Rights], passwords: Path
) -> list[Made]:
    """Create users or update their rights, and set the policy. Changes no password.

    Args:
        interface: An administrator's, who may declare exchanges in the virtual host.
        vhost: The virtual host; created if it is missing.
        users: From `planned`.
        passwords: A directory with a file for each user to create, named like the user.

    Raises:
        ManagementUnavailable: The interface can't be reached.
        ManagementRefused: A request was refused; it is safe to run again.
        OSError: A file can't be read.
    """
    if await interface.get("vhosts", vhost) is None:
        await interface.put("vhosts", vhost)
    # From 4.3 topic permissions need an existing exchange, as `topology declare` creates it.
    await interface.put("exchanges", vhost, ANSWERS, body={"type": "topic", "durable": True})
    made = [
        await _make(interface, vhost, user, rights, passwords) for user, rights in users.items()
    ]
    await interface.put("policies", vhost, POLICY, body=POLICY_BODY)
    return made


async def _make(
    interface: Management, vhost: str, user: str, rights: Rights, passwords: Path
) -> Made:
    file = passwords / user
    if not file.is_file():
        return Made(user, "left out", f"there is no file {user} in {passwords}")
    try:
        password = (decoded(file.read_bytes()).splitlines() or [""])[0]
    except ValueError as error:
        return Made(user, "refused", f"{file} can't be read: {error}")
    if not password:
        return Made(user, "refused", f"{file} is empty: anyone could log in as that user")
    known = await interface.get("users", user)
    if known is None:
        await interface.put("users", user, body={"password": password, "tags": ""})
    elif fault := await _unfit(interface, vhost, user, known, password):
        return Made(user, "refused", fault)
    # Topic permissions first: without them a user who may bind could bind every key.
    for path, body in _bodies(rights):
        await interface.put(path, vhost, user, body=body)
    return Made(user, "updated" if known else "created")


async def _unfit(
    interface: Management, vhost: str, user: str, known: Mapping[str, Any], password: str
) -> str | None:
    """Why an existing user is not given these rights; None if nothing prevents it."""
    if {each["vhost"] for each in await interface.get("users", user, "permissions")} - {vhost}:
        return (
            "it has rights in another virtual host; use other names for this one's users (--suffix)"
        )
    if not _is_password(password, known):
        return "its password differs from the one in the file; put the right one there"
    return None


def _is_password(password: str, known: Mapping[str, Any]) -> bool:
    """Whether it is the user's password; hashed as in https://www.rabbitmq.com/docs/passwords."""
    algorithm = _HASHES.get(str(known.get("hashing_algorithm")))
    if algorithm is None:
        raise ManagementRefused(f"the password of {known.get('name')} is hashed in an unknown way")
    stored = base64.b64decode(known.get("password_hash") or "")
    salt, digest = stored[:_SALT_BYTES], stored[_SALT_BYTES:]
    return hmac.compare_digest(hashlib.new(algorithm, salt + password.encode()).digest(), digest)


def _bodies(rights: Rights) -> Iterator[tuple[str, dict[str, str]]]:
    if rights.bind is not None:
        topic = {"exchange": ANSWERS, "write": rights.publish or NOTHING, "read": rights.bind}
        yield "topic-permissions", topic
    plain = {"configure": rights.configure, "write": rights.write, "read": rights.read}
    yield "permissions", plain
