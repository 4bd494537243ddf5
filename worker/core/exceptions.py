"""Everything foreseen that can go wrong, in one tree. Each text is for a person, with the remedy.

`Unavailable` is about another system and passes by itself; `SetupFault` is ours and waits for a
person; the others are about one message or one row, and settle it.
"""

from __future__ import annotations


class WorkerError(Exception):
    """Whatever is foreseen."""


# --- theirs ---


class Unavailable(WorkerError):
    """Another system can't do its work now: keep what there is, and try again."""


class LedgerUnavailable(Unavailable):
    """The database can't do its work now; nothing is wrong with the rows."""


class BrokerUnavailable(Unavailable):
    """No connection to the broker could be opened; the text says where and why."""


class BrokerLost(BrokerUnavailable):
    """Connection or channel ended, or no answer came: what was asked may or may not be done."""


# --- ours ---


class SetupFault(WorkerError):
    """A person has to correct something: a setting, a right, what was declared or migrated."""


# --- a message's or a row's ---


class RowsRefused(WorkerError):
    """The database refused a batch for its data, with words that do not quote it."""


class NotConfirmed(WorkerError):
    """The broker did not take a message over."""


class Refused(NotConfirmed):
    """The broker refused the message, mostly for a full queue."""


class Unanswered(Refused):
    """Its queue is silent while others answer: it is treated as refused, but may have arrived."""


class Unroutable(NotConfirmed):
    """A mandatory message was returned, since no queue is bound for it: it is nowhere."""


class Unsendable(NotConfirmed):
    """AMQP can't carry the message; it was not sent, and never can be as it is."""
