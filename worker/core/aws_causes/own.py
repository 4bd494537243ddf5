"""Causes that the worker itself finds, without an answer from AWS."""

from __future__ import annotations

from typing import Final

from worker.core.aws_causes.cause import Cause
from worker.core.aws_causes.identity import CREDENTIALS_TIMEOUT
from worker.core.aws_causes.reach import REACH
from worker.core.aws_causes.service import NOT_THE_SERVICE
from worker.core.records import FaultKind
from worker.core.shortage import ALL as SHORTAGES

_SYSTEMIC: Final = FaultKind.SYSTEMIC

TIMEOUT: Final = "Timeout"
CONNECTION_FAULT: Final = "ConnectionFault"
UNUSABLE_ANSWER: Final = "UnusableAnswer"
LIFETIME_EXCEEDED: Final = "LifetimeExceeded"
UNFORESEEN: Final = "UnforeseenError"
OUTAGE: Final = "AwsUnavailable"


OWN: Final = (
    Cause(
        (TIMEOUT, CONNECTION_FAULT),
        FaultKind.TRANSIENT,
        "The request was sent, and no answer came, or not in time.",
        "look for a firewall or proxy that drops the traffic, and check WORKER_AWS__ENDPOINT_URL "
        "and WORKER_AWS__TIMEOUT",
    ),
    Cause(
        (UNUSABLE_ANSWER,),
        FaultKind.TRANSIENT,
        "The answer can't be used, and says nothing about the token.",
        NOT_THE_SERVICE.remedy,
    ),
    Cause(
        ("WrongAccount",),
        _SYSTEMIC,
        "The credentials belong to another account than the expected one.",
        "use the credentials of the account in WORKER_AWS__EXPECTED_ACCOUNT, or correct that "
        "setting",
    ),
    Cause(
        (UNFORESEEN,),
        _SYSTEMIC,
        "The worker failed with an unexpected error.",
        "this is a defect of the worker: report it, with its log lines "
        "call_failed_unforeseen or probe_failed_unforeseen",
    ),
    Cause(
        (OUTAGE,),
        _SYSTEMIC,
        "Nearly all recent calls have failed.",
        "this is a fault of AWS or of the network: look at AWS's health dashboard, and check the "
        "connection with `resolution-worker check`; calls resume by themselves",
    ),
    CREDENTIALS_TIMEOUT,
    *REACH,
    *(Cause((one.code,), _SYSTEMIC, one.what, one.remedy) for one in SHORTAGES),
)
