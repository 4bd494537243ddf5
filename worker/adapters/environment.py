"""Puts the environment right, once, before anything reads it.

Container tools can empty a variable, but not unset it: an empty variable of AWS's is removed, as
an empty one of ours counts as not set. And a proxy is never asked for what only this machine can
answer: itself, and the services that give out the credentials of its own role.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import MutableMapping

_DIRECT: Final = (
    "localhost",
    "127.0.0.1",
    "::1",
    "[::1]",
    # the metadata services of instances, containers and pods
    "169.254.169.254",
    "[fd00:ec2::254]",
    "169.254.170.2",
    "169.254.170.23",
    "[fd00:ec2::23]",
)


def prepare(environment: MutableMapping[str, str] = os.environ) -> None:
    """Remove AWS's empty variables, and exclude from proxies what is asked directly."""
    for name in [name for name in environment if name.startswith("AWS_")]:
        if not environment[name].strip():
            del environment[name]
    # Of two spellings the lower-case one counts, unless it is empty.
    listed = environment.get("no_proxy", "").strip() or environment.get("NO_PROXY", "").strip()
    everything = listed == "*"  # which counts alone only
    environment["no_proxy"] = "*" if everything else ",".join(filter(None, (listed, *_DIRECT)))
