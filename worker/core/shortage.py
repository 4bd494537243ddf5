"""What this process itself has run out of, in words: no fault of whoever was to be reached."""

from __future__ import annotations

import errno
from typing import Final, NamedTuple

_MOST_CAUSES: Final = 8


class Shortage(NamedTuple):
    """What is used up.

    Attributes:
        code: Its name as a fault's code.
        what: What is the matter.
        remedy: What an operator can do about it.
    """

    code: str
    what: str
    remedy: str

    def __str__(self) -> str:
        """Both, for a log."""
        return f"{self.what}; {self.remedy}"


DESCRIPTORS: Final = Shortage(
    "DescriptorsUsedUp",
    "this process's file descriptors are used up",
    "raise `ulimit -n` (LimitNOFILE in a systemd unit, `--ulimit nofile` of a container) above "
    "WORKER_POOL__CONCURRENCY by 100 at least, or lower that",
)
SYSTEM_DESCRIPTORS: Final = Shortage(
    "SystemDescriptorsUsedUp",
    "this machine's file descriptors are used up",
    "raise the sysctl fs.file-max, or find the process that holds them (`lsof`)",
)
MEMORY: Final = Shortage(
    "MemoryUsedUp",
    "this machine or container has no memory for another socket",
    "give it more, or lower WORKER_POOL__CONCURRENCY",
)
ALL: Final = (DESCRIPTORS, SYSTEM_DESCRIPTORS, MEMORY)

_BY_ERRNO: Final = {
    errno.EMFILE: DESCRIPTORS,
    errno.ENFILE: SYSTEM_DESCRIPTORS,
    errno.ENOMEM: MEMORY,
    errno.ENOBUFS: MEMORY,
}


def by_errno(number: int | None) -> Shortage | None:
    """What an operating system's error says to be used up, if that is what it says."""
    return None if number is None else _BY_ERRNO.get(number)


def shortage_of(error: BaseException | None) -> Shortage | None:
    """What an error, or one that led to it, says to be used up here."""
    for _ in range(_MOST_CAUSES):
        if error is None:
            return None
        if isinstance(error, OSError) and (found := by_errno(error.errno)):
            return found
        error = error.__cause__ or error.__context__
    return None
