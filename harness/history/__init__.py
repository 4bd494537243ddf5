"""The history checker: finds any loss, double, early ack, late call, mix-up or leak.

It takes what was published and what AWS, the ledger, the events, the replies, the dead letters and
the queues say once all is over. The crash test, the faults and the soak are judged by it.
"""

from harness.history.checking import LOSSES, check, count
from harness.history.kinds import KINDS, TOO_OLD, due, said
from harness.history.records import (
    EVENT,
    MALFORMED,
    PARKED,
    REPLY,
    RESOLVED,
    Call,
    Due,
    Finding,
    History,
    Kind,
    Received,
    Submission,
    sha,
)

__all__ = [
    "EVENT",
    "KINDS",
    "LOSSES",
    "MALFORMED",
    "PARKED",
    "REPLY",
    "RESOLVED",
    "TOO_OLD",
    "Call",
    "Due",
    "Finding",
    "History",
    "Kind",
    "Received",
    "Submission",
    "check",
    "count",
    "due",
    "said",
    "sha",
]
