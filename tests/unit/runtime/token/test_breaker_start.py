"""What a replica looks at before its first call."""

from __future__ import annotations

from typing import Any, cast

import pytest

from tests.fakes.outside import FakeMarketplace, FakeSecrets
from tests.fakes.records import fault
from worker.core import aws_causes, holds
from worker.core.records import FaultKind
from worker.runtime.gate import Gate
from worker.runtime.token.breaker import Breaker


@pytest.mark.parametrize(
    ("kind", "others_are_refused", "code"),
    [
        (FaultKind.TRANSIENT, True, aws_causes.OUTAGE),
        (FaultKind.TRANSIENT, False, None),
        (FaultKind.SYSTEMIC, True, "SomeCode"),
        (FaultKind.THROTTLED, True, None),
        (None, True, None),
    ],
)
async def test_who_starts_in_an_outage_that_stopped_the_others(
    kind: FaultKind | None,
    others_are_refused: bool,  # noqa: FBT001 - a state
    code: str | None,
) -> None:
    """It calls for no buyer's token first, if AWS does not answer it either."""
    aws, gate = FakeMarketplace(), Gate()
    aws.probes.append(None if kind is None else fault(kind))
    breaker = Breaker(
        gate=gate,
        marketplace=aws,
        fleet=cast("Any", None),
        secrets=FakeSecrets(),
        resumed=lambda: None,
        changed=lambda: None,
        remedy=lambda *_: "",
    )
    await breaker.check_identity(others_are_refused)
    assert (breaker.fault.code if breaker.fault else None) == code
    assert (holds.AWS in gate.reasons) is (code is not None)
    assert len(aws.probed) == others_are_refused
