"""The metering endpoint without its sockets: a request in, an answer out."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import msgspec

from worker.lab.simulator import answer, grammar
from worker.lab.simulator.latency import Latency
from worker.lab.simulator.quota import UNLIMITED, Quota, TokenBucket
from worker.lab.simulator.signature import SignatureError, verify
from worker.lab.simulator.stats import Stats, TokenCalls

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.lab.simulator.answer import Answer
    from worker.lab.simulator.signature import Request

TARGET: Final = "AWSMPMeteringService.ResolveCustomer"
CONTENT_TYPE: Final = "application/x-amz-json-1.1"

_VALIDATION: Final = (
    "1 validation error detected: Value {} at 'registrationToken' failed to satisfy constraint: {}"
)
_TOKEN_ABSENT: Final = answer.fault(
    "ValidationException", _VALIDATION.format("null", "Member must not be null")
)
_TOKEN_EMPTY: Final = answer.fault(
    "ValidationException",
    _VALIDATION.format("''", r"Member must satisfy regular expression pattern: [\s\S]+"),
)
_UNREADABLE: Final = answer.fault("SerializationException", "The body is not a JSON object.")
_NOT_TEXT: Final = answer.fault(
    "SerializationException", "The value of RegistrationToken can not be converted to a String"
)


class _Input(msgspec.Struct):
    token: str | None = msgspec.field(default=None, name="RegistrationToken")


_decoder: Final = msgspec.json.Decoder(_Input)


@dataclass(frozen=True, slots=True)
class Sources:
    """Time and chance.

    Attributes:
        epoch_s: Seconds since the epoch.
        monotonic_s: Seconds that never go back.
        chance: A number drawn evenly from 0 to 1.
    """

    epoch_s: Callable[[], float]
    monotonic_s: Callable[[], float]
    chance: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Options:
    """How the endpoint behaves.

    Attributes:
        secrets: Secret keys by access key: who may call.
        quota: The quota in force at first.
        latency: How long every answer takes.
        error_rate: The share of calls, 0 to 1, that an internal error answers.
    """

    secrets: Mapping[str, str] = field(repr=False)
    quota: Quota = UNLIMITED
    latency: Latency = Latency()  # noqa: RUF009 - a frozen value: sharing it is safe
    error_rate: float = 0.0


class Endpoint:
    """What AWS keeps behind the endpoint: keys, quota, faults, and counts of what was answered."""

    def __init__(self, options: Options, sources: Sources) -> None:
        self._options = options
        self._sources = sources
        self._bucket = TokenBucket(options.quota, sources.monotonic_s())
        self.stats = Stats()
        self.tokens = TokenCalls()
        self.fault: Answer | None = None

    def change_quota(self, quota: Quota) -> None:
        """Put another quota in force."""
        self._bucket.change(quota, self._sources.monotonic_s())

    def answer(self, request: Request) -> Answer:
        """The answer to a call, counted; `delay_s` includes the latency."""
        chosen = self._choose(request)
        self.stats.note(chosen.result, self._sources.epoch_s())
        delay_s = self._options.latency.draw(self._sources.chance())
        return replace(chosen, delay_s=chosen.delay_s + delay_s) if delay_s else chosen

    def _choose(self, request: Request) -> Answer:
        token = read_token(request.body)
        # Counted before anything may refuse the call: it is one of the token's calls all the same.
        nth = self.tokens.note(token) if isinstance(token, str) else 0
        if self.fault is not None:
            return self.fault
        try:
            access_key = verify(request, self._options.secrets, self._sources.epoch_s())
        except SignatureError as error:
            return answer.fault(error.code, error.message)
        return self._admitted(request, token, nth, access_key)

    def _admitted(self, request: Request, token: str | Answer, nth: int, access_key: str) -> Answer:
        if not is_resolve_customer(request):
            return answer.UNKNOWN_OPERATION
        if not self._bucket.take(self._sources.monotonic_s()):
            return answer.THROTTLED
        if self._options.error_rate and self._sources.chance() < self._options.error_rate:
            return answer.INTERNAL
        return grammar.answer(token, nth, access_key) if isinstance(token, str) else token


def is_resolve_customer(request: Request) -> bool:
    """Whether the request is for the one operation there is."""
    headers = request.headers
    return (
        headers.get("x-amz-target") == TARGET
        and request.method == "POST"
        and request.target == "/"
        and headers.get("content-type", "").partition(";")[0].strip() == CONTENT_TYPE
    )


def read_token(body: bytes) -> str | Answer:
    """The registration token in a call's body, or what AWS answers where there is none."""
    try:
        token = _decoder.decode(body).token
    except msgspec.ValidationError as error:
        return _NOT_TEXT if "$.RegistrationToken" in str(error) else _UNREADABLE
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _UNREADABLE
    if token is None:
        return _TOKEN_ABSENT
    return token or _TOKEN_EMPTY
