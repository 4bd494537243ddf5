"""The messages of the contract as types, from which `docs/schemas` is made.

`replies` encodes `OutcomeBody`. Submissions are read member by member (`submissions`), so that each
fault has a code of its own; a property test holds that reader and `SubmissionBody` together. What
JSON Schema can't say is in the descriptions: sizes in bytes, and that nothing contains the token.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from worker.core.records import DEFAULT_SELLER, Advice, Status
from worker.core.token.malformed import MAX_METADATA_BYTES
from worker.core.token.submissions import MAX_OFFER_TYPE_CHARS, MOST_SOURCE_CHARS
from worker.core.token.token_rules import (
    CONTROL,
    COOKIE_PREFIX,
    FIELD_NAME,
    INVISIBLE,
    MAX_TOKEN_CHARS,
    PERCENT_ESCAPE,
    QUOTATION_MARKS,
    WHITE_SPACE,
)


def _in_any_case(pattern: str) -> str:
    """The pattern without the flag IGNORECASE, which patterns in JSON Schema do not have."""
    return re.sub("[a-z]", lambda letter: f"[{letter[0].upper()}{letter[0]}]", pattern)


def _without(**patterns: str) -> dict[str, Any]:
    """That a text matches none of these; the names say what each would find."""
    return {
        "not": {
            "anyOf": [
                {"description": name.replace("_", " "), "pattern": pattern}
                for name, pattern in patterns.items()
            ]
        }
    }


_NO_TOKEN: Final = _without(
    white_space=WHITE_SPACE.pattern,
    a_control_character=CONTROL.pattern,
    an_invisible_character=INVISIBLE.pattern,
    a_percent_escape=PERCENT_ESCAPE.pattern,
    quotation_marks_around_it=f"^[{QUOTATION_MARKS}]|[{QUOTATION_MARKS}]$",
    a_field_name_before_it=f"^{_in_any_case(FIELD_NAME.pattern)}",
    the_name_of_the_form_field=_in_any_case(COOKIE_PREFIX),
)

_RegistrationToken = Annotated[
    str,
    Meta(
        description="The value of the form field x-amzn-marketplace-token, decoded exactly once.",
        min_length=1,
        max_length=MAX_TOKEN_CHARS,
        extra_json_schema=_NO_TOKEN,
    ),
]
_OfferType = Annotated[str, Meta(max_length=MAX_OFFER_TYPE_CHARS)]
_Seller = Annotated[str, Meta(extra_json_schema={"const": DEFAULT_SELLER})]
_Source = Annotated[str, Meta(max_length=MOST_SOURCE_CHARS)]
_Instant = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
_Millisecond = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$",
        extra_json_schema={"format": "date-time"},
    ),
]
_Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
_NotNegative = Annotated[float, Meta(ge=0)]


class SubmissionBody(msgspec.Struct):
    """A token to resolve, in at most 64 KiB of UTF-8.

    Unknown members are ignored, and null is the same as absent. None of the others may contain the
    token, nor may message_id or correlation_id.
    """

    registration_token: _RegistrationToken
    version: Literal[1] | None = None
    received_at: Annotated[
        _Instant | None,
        Meta(
            description="When the buyer's browser delivered the token. What can't be read, or lies"
            " in the future, counts as now."
        ),
    ] = None
    offer_type: Annotated[
        _OfferType | None,
        Meta(
            description="The value of the form field x-amzn-marketplace-offer-type.",
            extra_json_schema=_without(a_control_character=CONTROL.pattern),
        ),
    ] = None
    seller: Annotated[
        _Seller | None, Meta(description="The seller account that published the product.")
    ] = None
    source: Annotated[
        _Source | None,
        Meta(
            description="Who brought the token to the web tier: opaque, such as a keyed hash of"
            " the client's network. Anything else is ignored."
        ),
    ] = None
    metadata: Annotated[
        dict[str, Any] | None,
        Meta(description=f"Returned unchanged; at most {MAX_METADATA_BYTES} bytes."),
    ] = None


class ErrorBody(msgspec.Struct):
    """Why a token was not resolved."""

    code: Annotated[str, Meta(description="For programs: AWS's code, or one of the worker's.")]
    message: Annotated[str | None, Meta(description="For people.")]


class OutcomeBody(msgspec.Struct):
    """What became of one submission: the same body as reply and as event, at least once."""

    version: Literal[1]
    message_id: Annotated[str, Meta(description="That of the submission.")]
    status: Status
    repeated: Annotated[
        bool,
        Meta(
            description="This token was submitted before under another message_id: the page was"
            " reloaded, or somebody else has the token."
        ),
    ]
    token_sha256: Annotated[
        _Sha256 | None,
        Meta(
            description="SHA-256 of the token's UTF-8 bytes, to be compared with the token that"
            " was sent; null where no token could be read."
        ),
    ]
    product_code: str | None
    customer_aws_account_id: Annotated[
        str | None, Meta(description="Digits, as text: it may begin with 0.")
    ]
    customer_identifier: Annotated[
        str | None, Meta(description="AWS's former key of a buyer; null in newer integrations.")
    ]
    license_arn: str | None
    agreement_id: str | None
    offer_type: Annotated[
        str | None, Meta(description="As submitted: the browser's word, not AWS's.")
    ]
    error: ErrorBody | None
    advice: Advice | None
    metadata: Annotated[
        msgspec.Raw,
        Meta(description="The submission's.", extra_json_schema={"type": "object"}),
    ]
    received_at: Annotated[_Millisecond, Meta(description="The submission's.")]
    settled_at: _Millisecond


class Calls(StrEnum):
    """Whether calls to AWS are made."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"


class StateBody(msgspec.Struct):
    """What each replica says once a second; silence for 3 s means that nobody works."""

    version: Literal[1]
    calls: Annotated[
        Calls,
        Meta(description="paused by an operator, or stopped by a fault on the seller's side."),
    ]
    reason: Annotated[str | None, Meta(description="Why calls do not run, for people.")]
    rate: Annotated[_NotNegative, Meta(description="Calls a second, of all replicas.")]
    waiting: Annotated[int, Meta(ge=0, description="Submissions in the live lane not settled yet.")]
    oldest_seconds: Annotated[
        _NotNegative, Meta(description="Age of the oldest that a worker has in hand.")
    ]
