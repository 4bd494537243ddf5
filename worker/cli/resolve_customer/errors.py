"""Reports faults with the AWS CLI v2's exit codes and messages, on standard error."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Final

from worker.cli.resolve_customer import error_formats
from worker.cli.resolve_customer.faults import CONFIGURATION, GENERAL, USAGE, CommandFault

if TYPE_CHECKING:
    from collections.abc import Collection

DONE: Final = 0
SERVICE: Final = 254
_INTERRUPTED: Final = 128 + signal.SIGINT
_LEAST_SECRET_CHARS: Final = 8


def report(
    error: BaseException,
    secrets: Collection[str] = (),
    *,
    form: str = error_formats.LEGACY,
    debug: bool = False,
    explain: bool = False,
) -> int:
    """Print an error; returns the exit code.

    Args:
        error: The error.
        secrets: Texts that must not be printed.
        form: One of `error_formats.FORMATS`.
        debug: Whether to write the traceback to the debug log.
        explain: Whether to add its meaning and what to do.
    """
    if isinstance(error, KeyboardInterrupt):
        sys.stdout.write("\n")
        return _INTERRUPTED
    if isinstance(error, BrokenPipeError):
        return _reader_gone()
    code, text = _described(error)
    error_formats.write(form, _code_of(error), _without(secrets, text))
    if debug:
        from worker.cli.resolve_customer import debug as debugging  # noqa: PLC0415 - start-up

        debugging.log_failure(error)
    if explain:
        from worker.cli.resolve_customer import explain as explaining  # noqa: PLC0415 - start-up

        sys.stderr.write(explaining.of(error))
    return code


def _reader_gone() -> int:
    """Handle a closed output pipe: as in the AWS CLI, this is not an error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return DONE


def _described(error: BaseException) -> tuple[int, str]:
    if isinstance(error, CommandFault):
        return error.code, str(error)
    # If it is not loaded, no call was made, so the error can't be botocore's.
    exceptions = sys.modules.get("botocore.exceptions")
    for name, code, words in _OF_BOTOCORE if exceptions is not None else ():
        if isinstance(error, getattr(exceptions, name)):
            return code, words.format(error)
    return GENERAL, str(error) or type(error).__name__


def _code_of(error: BaseException) -> str:
    """AWS's code of an error of the service; of another one a name made of its class."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return str(response.get("Error", {}).get("Code", "Unknown"))
    return type(error).__name__.removesuffix("Error").removesuffix("Fault")


_OF_BOTOCORE: Final = (
    ("ClientError", SERVICE, "{}"),
    ("ParamValidationError", USAGE, "{}"),
    (
        "NoRegionError",
        CONFIGURATION,
        '{} You can also configure your region by running "aws configure".',
    ),
    (
        "NoCredentialsError",
        CONFIGURATION,
        '{}. You can configure credentials by running "aws configure".',
    ),
)


def _without(secrets: Collection[str], text: str) -> str:
    """The text without secrets and credentials, which the service and the libraries may repeat."""
    from worker.core import secrecy  # noqa: PLC0415 - start-up
    from worker.core.addresses.passwords import credentials_around  # noqa: PLC0415 - start-up
    from worker.core.credentials import KNOWN  # noqa: PLC0415 - start-up

    for credential in credentials_around(os.environ):
        KNOWN.keep(credential)
    text = KNOWN.hide(text)
    for secret in secrets:
        # A shorter one is no token, and would match harmless words.
        if len(secret) >= _LEAST_SECRET_CHARS and secrecy.contains(text, secret):
            text = secrecy.without(text, secret)
    return text
