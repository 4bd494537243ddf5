"""`--debug`: botocore's own log on standard error, with the token and every secret hidden."""

from __future__ import annotations

import logging
import os
import re
import sys
from typing import TYPE_CHECKING, Final

from worker.adapters.logs.secrets import Secrets
from worker.core.credentials import REDACTED

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

_FORMAT: Final = "%(asctime)s - %(threadName)s - %(name)s - %(levelname)s - %(message)s"
_LOGGERS: Final = ("botocore", "urllib3", "resolve-customer")
_SECRET_VARIABLES: Final = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_BEARER_TOKEN_MARKETPLACE_METERING",
)

# Secrets that the credential providers (STS, SSO, containers, instances) and the signer log.
_NAMES: Final = (
    r"(?:secret_?access_?key|session_?token|access_?token|refresh_?token|id_?token|"
    r"client_?secret|web_?identity_?token|saml_?assertion|device_?code|token)"
)
_MEMBER: Final = re.compile(rf"""(?i)({_NAMES}\\*["']\s*:\s*\\*["'])[^"'\\]+""")
_ELEMENT: Final = re.compile(rf"(?i)(<{_NAMES}>)[^<]+")
_FORM: Final = re.compile(rf"(?i)((?:^|[?&'\"\s]){_NAMES}=)[^&\s'\"]+")
_SIGNATURE: Final = re.compile(r"(?i)(signature[:=]\s*)[0-9a-f]{64}")
_SECURITY_TOKEN: Final = re.compile(r"(?i)(x-amz-security-token:)\S+")
_PATTERNS: Final = (_MEMBER, _ELEMENT, _FORM, _SIGNATURE, _SECURITY_TOKEN)

_log: Final = logging.getLogger("resolve-customer")


class _Formatter(logging.Formatter):
    """Formats whole records, tracebacks included, and hides secrets in the result."""

    def __init__(self, tokens: AbstractSet[str]) -> None:
        super().__init__(_FORMAT)
        self._tokens = tokens
        self._environment = [os.environ[name] for name in _SECRET_VARIABLES if name in os.environ]

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        secrets = Secrets()
        for secret in (*self._tokens, *self._environment):
            secrets.add(secret)
        text = secrets.hide(text)
        for pattern in _PATTERNS:
            text = pattern.sub(rf"\1{REDACTED}", text)
        return text


def start(tokens: AbstractSet[str]) -> None:
    """Write the libraries' log from now on.

    Args:
        tokens: Secrets that must not be shown; read for each line, so the set may grow.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(tokens))
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.setLevel(logging.DEBUG)
        logger.addHandler(handler)


def log_failure(error: BaseException) -> None:
    """Log the traceback of the error that ended the command."""
    _log.debug("the command has failed", exc_info=error)
