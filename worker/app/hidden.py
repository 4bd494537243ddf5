"""Makes the credentials of this process known to what hides them in all that it writes.

Logs, `/readyz`, and what commands print are cleaned at the output; outcomes before they are stored
(`runtime/token/pool.py`). All of it asks
`worker.core.credentials.KNOWN`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from worker.core.addresses.passwords import credentials_around, credentials_in
from worker.core.credentials import KNOWN

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.settings import Settings


def hide_credentials(settings: Settings) -> None:
    """Hide the credentials of the settings and of the environment from now on."""
    from worker.settings.credentials import credentials_of  # noqa: PLC0415 - not for `--help`

    for credential in (*credentials_of(settings), *credentials_around(os.environ)):
        KNOWN.keep(credential)


def hidden(address: Callable[[], str]) -> Callable[[], str]:
    """The same address, whose passwords are hidden each time that it is asked for."""

    def get() -> str:
        given = address()
        for password in credentials_in(given):
            KNOWN.keep(password)
        return given

    return get
