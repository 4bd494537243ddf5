"""Messages that may have ended a process."""

from __future__ import annotations

import pytest

from worker.core.caution import is_suspect


@pytest.mark.parametrize(
    ("headers", "suspect"),
    [
        ({}, False),
        ({"x-delivery-count": 0}, False),
        ({"x-delivery-count": 1}, False),
        ({"x-delivery-count": 2}, True),
        ({"x-delivery-count": 99}, True),
        ({"x-delivery-count": "99"}, False),
        ({"x-delivery-count": None}, False),
    ],
)
def test_a_message_is_suspect_from_its_third_delivery(
    headers: dict[str, object], *, suspect: bool
) -> None:
    """A message that was handed out twice in vain is handled with caution, others are not."""
    assert is_suspect(headers) is suspect
