"""`--explain`: what an error means and what to do."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from worker.core import aws_causes, aws_errors
from worker.core.aws_errors import ServiceError
from worker.core.records import FaultKind

if TYPE_CHECKING:
    from worker.core.aws_causes import Cause


class Explanation(NamedTuple):
    """What an error means, and what to do about it."""

    means: str
    remedy: str


UNUSABLE: Final = (
    "The answer is empty or could not be read, so it says nothing about the token. Try again; if "
    "it happens again, check what is between you and AWS (--endpoint-url, a proxy)."
)

# Errors of this command only, by the name of botocore's exception; more specific ones first.
_BY_EXCEPTION: Final[dict[str, Explanation]] = {
    "NoRegionError": Explanation(
        "No AWS region is configured.",
        "Use --region, or set AWS_REGION or WORKER_AWS__REGION.",
    ),
    "SSLError": Explanation(
        "The encrypted connection failed: the server's certificate is not trusted.",
        "Set the authority that issued it with --ca-bundle or AWS_CA_BUNDLE (a proxy that "
        "intercepts TLS has its own authority).",
    ),
    "ReadTimeoutError": Explanation(
        "The service accepted the request but did not answer in time.",
        "Repeat the command: calling twice does no harm. --cli-read-timeout sets how long to wait.",
    ),
    "ConnectTimeoutError": Explanation(
        "Nothing answered at the endpoint's address.",
        "Check the network, the proxy and the security group of a VPC endpoint.",
    ),
    "ProxyConnectionError": Explanation(
        "The proxy can't be reached.", "Check HTTPS_PROXY and NO_PROXY."
    ),
    "EndpointConnectionError": Explanation(
        "No connection to the endpoint: the name does not exist, or no server listens there.",
        "Check --endpoint-url, AWS_ENDPOINT_URL, --region, the network and the proxy.",
    ),
    "ParamValidationError": Explanation(
        "The input document does not fit the operation.",
        "`--generate-cli-skeleton` prints a document that does: its only member is "
        "RegistrationToken.",
    ),
}


def of(error: BaseException) -> str:
    """The explanation of an error, as lines to print; empty if there is none."""
    found = _explanation(error)
    return "" if found is None else f"\nWhat it means: {found.means}\nWhat to do: {found.remedy}\n"


def _explanation(error: BaseException) -> Explanation | None:
    exceptions = sys.modules.get("botocore.exceptions")
    if exceptions is not None and isinstance(error, exceptions.ClientError):
        return _of_cause(_cause(error.response))
    for name in (kind.__name__ for kind in type(error).__mro__):
        if name in _BY_EXCEPTION:
            return _BY_EXCEPTION[name]
        if name in aws_causes.BY_IDENTITY_CODE:
            return _of_cause(aws_causes.BY_IDENTITY_CODE[name])
    return None


def _of_cause(cause: Cause) -> Explanation:
    return Explanation(cause.meaning, f"{cause.remedy[0].upper()}{cause.remedy[1:]}.")


def _cause(response: dict[str, dict[str, str | int]]) -> Cause:
    described = response.get("Error", {})
    code, message = str(described.get("Code", "")), str(described.get("Message", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    fault = aws_errors.classify(ServiceError(status, code, message))
    if fault.kind is FaultKind.TOKEN or code in aws_causes.BY_SERVICE_CODE:
        systemic = fault.kind is FaultKind.SYSTEMIC
        return (aws_causes.of_systemic if systemic else aws_causes.of_call)(code, message)
    return _BY_KIND.get(fault.kind, aws_causes.AWS_FAILED)


# For codes that are not in the table.
_BY_KIND: Final = {
    FaultKind.THROTTLED: aws_causes.THROTTLED,
    FaultKind.SYSTEMIC: aws_causes.NOT_ALLOWED,
}
