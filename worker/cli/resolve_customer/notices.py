"""What is said beside the answer, on standard error."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from worker.cli.resolve_customer.options import Options

_NAME: Final = "resolve-customer"


def warn(text: str) -> None:
    """A warning, on a line of its own."""
    sys.stderr.write(f"{_NAME}: warning: {text}\n")


def tell(text: str) -> None:
    """Something worth knowing, on a line of its own."""
    sys.stderr.write(f"{_NAME}: {text}\n")


def say_unusable(options: Options) -> None:
    """AWS answered with success and with no member at all; the AWS CLI then says nothing."""
    warn("the service answered with success, but with nothing that can be used")
    if options.explain:
        from worker.cli.resolve_customer.explain import UNUSABLE  # noqa: PLC0415 - start-up

        tell(UNUSABLE)
