"""Finds whether an error was caused by a shortage of resources of this process."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from worker.core.shortage import by_errno, shortage_of

if TYPE_CHECKING:
    from worker.core.shortage import Shortage


def shortage_behind(error: BaseException) -> Shortage | None:
    """The shortage that caused an error, or None.

    A name look-up without a free file descriptor reports only that it failed; so for such an error
    this function tries to open a descriptor.
    """
    found = shortage_of(error)
    if found is None and _is_of_names(error):
        try:
            os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        except OSError as refused:
            found = by_errno(refused.errno)
    return found


def _is_of_names(error: BaseException) -> bool:
    return any(
        isinstance(one, socket.gaierror) for one in (error, error.__cause__, error.__context__)
    )
