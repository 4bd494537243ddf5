"""Whether an error is a shortage of this process's own, which a name service does not say."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from worker.core.shortage import by_errno, shortage_of

if TYPE_CHECKING:
    from worker.core.shortage import Shortage


def shortage_behind(error: BaseException) -> Shortage | None:
    """What is used up here, if that is why something could not be reached.

    A look-up of a name that has no descriptor for its socket says no more than that it failed:
    then one is asked for.
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
