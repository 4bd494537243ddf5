"""The simulator's own paths, `/_simulator/…`: change its behaviour live, and read its counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import msgspec

from worker.lab.simulator import answer
from worker.lab.simulator.quota import Quota

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.lab.simulator.endpoint import Endpoint

PREFIX: Final = "/_simulator/"


class Reply(NamedTuple):
    """A reply in JSON; `allow` names the methods there are, where another was used."""

    status: int
    body: bytes
    allow: str = ""


class QuotaOrder(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `PUT /_simulator/quota`."""

    rate: float | None
    burst: float | None = None


class FaultOrder(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `PUT /_simulator/fault`."""

    code: Annotated[str, msgspec.Meta(pattern="^[A-Za-z][A-Za-z0-9.#]{0,127}$")]
    status: Annotated[int, msgspec.Meta(ge=400, le=599)] = answer.DEFAULT_STATUS
    message: Annotated[str, msgspec.Meta(max_length=4096)] = ""


def reply(endpoint: Endpoint, method: str, path: str, body: bytes) -> Reply:
    """Carry out one order, or say what is wrong with it."""
    methods = _PATHS.get(path)
    if methods is None:
        return _refusal(404, f"there is no such path; there are {', '.join(_PATHS)}")
    order = methods.get(method)
    if order is None:
        allowed = ", ".join(methods)
        return _refusal(405, f"use {allowed} here")._replace(allow=allowed)
    try:
        return Reply(200, msgspec.json.encode(order(endpoint, body)))
    except (ValueError, msgspec.MsgspecError) as error:
        return _refusal(400, str(error))


def _refusal(status: int, message: str) -> Reply:
    return Reply(status, msgspec.json.encode({"error": message}))


def _put_quota(endpoint: Endpoint, body: bytes) -> Any:
    order = msgspec.json.decode(body, type=QuotaOrder)
    quota = Quota.of(order.rate, order.burst)
    endpoint.change_quota(quota)
    # JSON has no infinity: msgspec writes it as null, which is how "no limit" is asked for.
    return {"rate": quota.rate, "burst": quota.burst}


def _put_fault(endpoint: Endpoint, body: bytes) -> Any:
    order = msgspec.json.decode(body, type=FaultOrder)
    endpoint.fault = answer.fault(order.code, order.message, order.status)
    return {"fault": order}


def _end_fault(endpoint: Endpoint, _body: bytes) -> Any:
    endpoint.fault = None
    return {"fault": None}


def _get_stats(endpoint: Endpoint, _body: bytes) -> Any:
    return {**endpoint.stats.as_json(), "tokens": endpoint.tokens.distinct}


_PATHS: Final[dict[str, dict[str, Callable[[Endpoint, bytes], Any]]]] = {
    f"{PREFIX}quota": {"PUT": _put_quota},
    f"{PREFIX}fault": {"PUT": _put_fault, "DELETE": _end_fault},
    f"{PREFIX}stats": {"GET": _get_stats},
}
