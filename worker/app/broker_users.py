"""Makes the broker's users through its management interface, where `rabbitmqctl` is not to be had.

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
    """A caller's name can't be one."""


@dataclass(frozen=True, slots=True)
class Made:
    """What was done about one user.

    Attributes:
        action: `created`, `updated`, `left out` or `refused`.
        detail: Why it was left out or refused, and what to do.
    """

    user: str
    action: str
    detail: str = ""


def planned(callers: Sequence[str], suffix: str = "") -> dict[str, Rights]:
    """The users to make, and their rights.

    Args:
        callers: Web tiers that wait for replies.
        suffix: Ends the name of each user.

    Raises:
        BadName: A caller or the suffix has other characters than `CALLER_NAME`.
    """
    users = {f"{role}{suffix}": rights for role, rights in ROLES.items()}
    for caller in callers:
        name = f"{caller}{suffix}"
        if not re.fullmatch(CALLER_NAME, name):
            raise BadName(f"{name}: a caller has letters, digits, _ and - in its name")
        users[name] = of_caller(name)
    return users


async def make(
    interface: Management, vhost: str, users: Mapping[str, Rights], passwords: Path
) -> list[Made]:
    """Create users, or bring their rights up to date, and set the policy. Changes no password.

    Args:
        interface: An administrator's, who may declare exchanges in the virtual host.
        vhost: The virtual host; made if it is missing.
        users: As `planned`.
        passwords: A folder with a file for each user to make, named like it.

    Raises:
        ManagementUnavailable: It can't be reached.
        ManagementRefused: Something was refused; it is safe to run again.
        OSError: A file can't be read.
    """
    if await interface.get("vhosts", vhost) is None:
        await interface.put("vhosts", vhost)
    # From 4.3 rights on topics need their exchange. It is what `topology declare` would make.
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
    password = (file.read_text(encoding="utf-8").splitlines() or [""])[0]
    if not password:
        return Made(user, "refused", f"{file} is empty: anybody could be that user")
    known = await interface.get("users", user)
    if known is None:
        await interface.put("users", user, body={"password": password, "tags": ""})
    elif fault := await _unfit(interface, vhost, user, known, password):
        return Made(user, "refused", fault)
    # Topics first: without them whoever may bind could bind every key.
    for path, body in _bodies(rights):
        await interface.put(path, vhost, user, body=body)
    return Made(user, "updated" if known else "created")


async def _unfit(
    interface: Management, vhost: str, user: str, known: Mapping[str, Any], password: str
) -> str | None:
    """Why a user who is there already is not given these rights."""
    if {each["vhost"] for each in await interface.get("users", user, "permissions")} - {vhost}:
        return "it has rights in another virtual host; name this one's users otherwise (--suffix)"
    if not _is_password(password, known):
        return "it has another password than that in the file; put the right one there"
    return None


def _is_password(password: str, known: Mapping[str, Any]) -> bool:
    """Whether it is the user's; https://www.rabbitmq.com/docs/passwords says how it is hashed."""
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
