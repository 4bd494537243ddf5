"""Resources that this process or machine has run out of: not the fault of the remote server."""

from __future__ import annotations

import errno
from typing import Final, NamedTuple

_MOST_CAUSES: Final = 8


class Shortage(NamedTuple):
    """A resource that is exhausted.

    Attributes:
        code: The fault's code.
        what: What is exhausted.
        remedy: What an operator can do about it.
    """

    code: str
    what: str
    remedy: str

    def __str__(self) -> str:
        """The fault and its remedy, for a log."""
        return f"{self.what}; {self.remedy}"


DESCRIPTORS: Final = Shortage(
    "DescriptorsUsedUp",
    "this process's file descriptors are used up",
    "raise `ulimit -n` (LimitNOFILE in a systemd unit, `--ulimit nofile` of a container) to at "
    "least WORKER_POOL__CONCURRENCY + 100, or lower that setting",
)
SYSTEM_DESCRIPTORS: Final = Shortage(
    "SystemDescriptorsUsedUp",
    "this machine's file descriptors are used up",
    "raise the sysctl fs.file-max, or find the process that holds them (`lsof`)",
)
MEMORY: Final = Shortage(
    "MemoryUsedUp",
    "this machine or container has no memory for another socket",
    "give it more memory, or lower WORKER_POOL__CONCURRENCY",
)
ALL: Final = (DESCRIPTORS, SYSTEM_DESCRIPTORS, MEMORY)

_BY_ERRNO: Final = {
    errno.EMFILE: DESCRIPTORS,
    errno.ENFILE: SYSTEM_DESCRIPTORS,
    errno.ENOMEM: MEMORY,
    errno.ENOBUFS: MEMORY,
}


def by_errno(number: int | None) -> Shortage | None:
    """The shortage that an `errno` value means; None if it means something else."""
    return None if number is None else _BY_ERRNO.get(number)


def shortage_of(error: BaseException | None) -> Shortage | None:
    """The shortage behind an error or one of its causes; None if there is none."""
    for _ in range(_MOST_CAUSES):
        if error is None:
            return None
        if isinstance(error, OSError) and (found := by_errno(error.errno)):
            return found
        error = error.__cause__ or error.__context__
    return None
