"""What a shop can count. No method ever gets a token."""

from __future__ import annotations

import logging
import re
from contextvars import ContextVar
from typing import Any, Final

log: Final = logging.getLogger("resolution_client")

reports_failures: Final = ContextVar("resolution_client.reports_failures", default=False)
"""Set in tasks that say themselves that they can't connect."""


class Observer:
    """Called with what happens; subclass it and count. Each method is called in the event loop.

    An exception from it is logged and changes nothing else.
    """

    def answered(self, status: str, seconds: float) -> None:
        """A caller got an outcome (`resolved`, …), or `pending`, after so long."""

    def not_published(self, seconds: float) -> None:
        """A caller was told that the broker has not confirmed its submission."""

    def published(self, *, again: bool) -> None:
        """The broker has confirmed a submission, or the same one again."""

    def dropped(self, kind: str) -> None:
        """A reply was dropped: `late`, `foreign` (another token's) or `unreadable`."""

    def connected(self, place: str) -> None:
        """There is a connection."""

    def disconnected(self, fault: str) -> None:
        """There is none, or no longer, and why."""

    def workers(self, calls: str) -> None:
        """What the workers do has changed: `running`, `paused`, `stopped`."""

    def answers_lost(self, queue: str, count: int) -> None:
        """The queue of `settled` was full, and so many of its oldest answers were dropped."""


class Safe:
    """An observer whose faults harm nobody."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def tell(self, what: str, *values: Any, **named: Any) -> None:
        """Call one of its methods."""
        try:
            getattr(self._observer, what)(*values, **named)
        except Exception:
            log.exception("the observer's %s failed", what)


_LIBRARIES: Final = {
    "aio_pika": ("channel", "connection", "exchange", "message", "queue", "tools"),
    "aiormq": ("base", "channel", "connection"),
}
_ATTEMPT_FAILED: Final = "error when creating transport"
_PASSWORD: Final = re.compile(r"(amqps?://[^\s:/@]*):[^\s@]*@")


def _fit_to_show(record: logging.LogRecord) -> bool:
    """Rewrite a record of the AMQP libraries that quotes a submission or the broker's password.

    Failures to connect are left out where they are ours: `Link` reports them, once an outage.
    """
    text = record.getMessage()
    if reports_failures.get() and text.startswith(_ATTEMPT_FAILED):
        return False
    if "registration_token" in text:
        record.msg, record.args = "withheld: it quotes a registration token", ()
    elif "amqp" in text:
        record.msg, record.args = _PASSWORD.sub(r"\1:***@", text), ()
    return True


for _library, _modules in _LIBRARIES.items():
    # Frames are logged at DEBUG, returned messages and the URLs of lost connections at ERROR.
    for _module in _modules:
        logging.getLogger(f"{_library}.{_module}").addFilter(_fit_to_show)
