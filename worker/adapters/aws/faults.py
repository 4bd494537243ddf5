"""What an error of the libraries says: whose fault it is, in core's terms."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import aiohttp
from botocore.exceptions import (
    ClientError,
    HTTPClientError,
)

from worker.adapters.shortages import shortage_behind
from worker.core import aws_errors
from worker.core.aws_errors import ServiceError

if TYPE_CHECKING:
    from worker.core.records import Fault


def service_fault(error: ClientError) -> Fault:
    """An error that AWS, or STS, answered with."""
    described = error.response.get("Error", {})
    code, message = described.get("Code", "Unknown"), described.get("Message", "no message")
    if error.operation_name != "ResolveCustomer":
        return aws_errors.systemic(code, f"{error.operation_name} was refused: {message}")
    http_status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return aws_errors.classify(ServiceError(http_status, code, message))


def local_fault(error: Exception) -> Fault:
    """The fault of a call that did not reach AWS completely: the network's, or our own."""
    if short := shortage(error):
        return short
    if isinstance(error, (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError)):
        return aws_errors.systemic("CertificateNotTrusted", words(error))
    if isinstance(error, aiohttp.InvalidURL):  # the endpoint's URL was validated: it is a proxy's
        return aws_errors.systemic("InvalidURL", f"the proxy's address can't be read: {error}")
    if isinstance(error, (HTTPClientError, aiohttp.ClientError, OSError)):
        return aws_errors.connection_fault(words(error))
    return named_after_class(error)


def shortage(error: Exception) -> Fault | None:
    """What this process itself has run out of, if an error comes of that."""
    found = shortage_behind(error)
    return found and aws_errors.systemic(found.code, f"{found.what} ({words(error)})")


def named_after_class(error: Exception) -> Fault:
    """A systemic fault under the name of the error's class."""
    name = type(error).__name__
    return aws_errors.systemic(name, str(error) or name)


def words(error: Exception) -> str:
    """The class of an error, and its text if there is one."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
