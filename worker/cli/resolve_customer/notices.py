"""Notices on standard error, in addition to the answer."""

from __future__ import annotations

import sys
from typing import Final

_NAME: Final = "resolve-customer"


def warn(text: str) -> None:
    """Print a warning on one line."""
    sys.stderr.write(f"{_NAME}: warning: {text}\n")


def tell(text: str) -> None:
    """Print a notice on one line."""
    sys.stderr.write(f"{_NAME}: {text}\n")


def warn_unusable(*, explain: bool) -> None:
    """Warn that AWS reported success with an empty answer; the AWS CLI prints nothing then."""
    warn("the service reported success, but its answer is empty or can't be used")
    if explain:
        from worker.cli.resolve_customer.explain import UNUSABLE  # noqa: PLC0415 - start-up

        tell(UNUSABLE)
