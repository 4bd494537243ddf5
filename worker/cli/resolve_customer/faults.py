"""The expected faults of the command, with the AWS CLI v2's exit codes."""

from __future__ import annotations

from typing import ClassVar, Final

USAGE: Final = 252
CONFIGURATION: Final = 253
GENERAL: Final = 255


class CommandFault(Exception):
    """An expected fault of the command; its text is for the user."""

    code: ClassVar[int] = GENERAL


class UsageFault(CommandFault):
    """The options or the input document can't be accepted."""

    code = USAGE


class ConfigurationFault(CommandFault):
    """The configuration or the credentials can't be used."""

    code = CONFIGURATION
