"""What an error of the libraries says: whose fault it is, in core's terms."""

from __future__ import annotations

import os
import ssl
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError, NoCredentialsError

from worker.adapters.aws.unreached import of_connection, of_credentials
from worker.adapters.shortages import shortage_behind
from worker.core import aws_errors, aws_reach
from worker.core.aws_causes import reach
from worker.core.aws_errors import ServiceError

if TYPE_CHECKING:
    from worker.adapters.aws.attempt import Attempt
    from worker.core.aws_reach import Route
    from worker.core.records import Fault

_FILE_VARIABLES: Final = ("AWS_CA_BUNDLE", "AWS_WEB_IDENTITY_TOKEN_FILE")


def service_fault(error: ClientError, route: Route) -> Fault:
    """An error that AWS answered with, or a proxy on a plain connection."""
    described = error.response.get("Error", {})
    code, message = described.get("Code", "Unknown"), described.get("Message", "no message")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return proxy_fault(status, code, route) or aws_errors.classify(
        ServiceError(status, code, message)
    )


def proxy_fault(status: int, code: str, route: Route) -> Fault | None:
    """The fault if it is the proxy that answered in AWS's place, with a status alone."""
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        return aws_reach.unreached(reach.PROXY_LOGIN, route, f"HTTP status {status}")
    if route.proxy and code == f"Http{HTTPStatus.FORBIDDEN}":
        return aws_reach.unreached(reach.PROXY_REFUSES, route, f"HTTP status {status}")
    return None


def local_fault(error: Exception, attempt: Attempt, route: Route) -> Fault:
    """The fault of a call that got no answer: the network's, or our own."""
    if short := _shortage(error):
        return short
    unreached = of_connection(error, route, sent=attempt.sent)
    return unreached or aws_errors.connection_fault(words(error))


def identity_fault(error: Exception, region: str) -> Fault:
    """Why no credentials, or not the right ones, could be obtained: never a token's fault."""
    if short := _shortage(error):
        return short
    if isinstance(error, ClientError):
        described = error.response.get("Error", {})
        code, message = described.get("Code", "Unknown"), described.get("Message", "no message")
        return aws_errors.systemic(code, f"{error.operation_name} was refused: {code}: {message}")
    if isinstance(error, NoCredentialsError):
        return aws_errors.systemic(type(error).__name__, "no AWS credentials are found")
    return file_fault(error) or of_credentials(error, region) or _named_after_class(error)


def file_fault(error: Exception) -> Fault | None:
    """The fault if a file that AWS's environment names can't be read."""
    # botocore wraps some of these in an error of its own, which keeps the text.
    is_of_file = isinstance(error, (OSError, ssl.SSLError)) or "[Errno" in str(error)
    if not is_of_file and not isinstance(error.__cause__, OSError):
        return None
    for variable in _FILE_VARIABLES:
        path = os.environ.get(variable)
        try:
            if path:
                Path(path).read_bytes()
                if variable == "AWS_CA_BUNDLE":
                    ssl.create_default_context(cafile=path)
        except ssl.SSLError:
            return _unread(variable, path, "it holds no certificate")
        except OSError as fault:
            return _unread(variable, path, fault.strerror)
    return None


def _unread(variable: str, path: str | None, why: str | None) -> Fault:
    words = f"the file {path} that {variable} names can't be read: {why}"
    return aws_errors.systemic("FileNotRead", words)


def _shortage(error: Exception) -> Fault | None:
    """What this process itself has run out of, if an error comes of that."""
    found = shortage_behind(error)
    return found and aws_errors.systemic(found.code, f"{found.what} ({words(error)})")


def _named_after_class(error: Exception) -> Fault:
    """A systemic fault under the name of the error's class."""
    name = type(error).__name__
    return aws_errors.systemic(name, str(error) or name)


def words(error: Exception) -> str:
    """The class of an error, and its text if there is one."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
