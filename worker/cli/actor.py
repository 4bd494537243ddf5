"""Who acts: what a person says to be, or else as whom they are logged in."""

from __future__ import annotations

import getpass
import os
from typing import Final

_MOST_CHARS: Final = 128


def actor(given: str | None) -> str:
    """The name to write into the audit, beside the role that the database let in.

    Args:
        given: The option `--actor`; without it the person who ran `sudo`, or is logged in.

    Returns:
        At most 128 printable characters; `unknown` where nothing names anybody.
    """
    named = given or os.environ.get("SUDO_USER") or os.environ.get("USER") or _account()
    printable = "".join(char for char in named if char.isprintable()).strip()
    return printable[:_MOST_CHARS] or "unknown"


def _account() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""  # a user id without an account, as in many containers
