"""Durations as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.durations import Duration, parse, parse_schedule

UNITS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("500ms", 500),
        ("5s", 5_000),
        ("2m", 120_000),
        ("4h", 14_400_000),
        ("1h30m", 5_400_000),
        ("1d", 86_400_000),
        (" 5s ", 5_000),
        ("1d2h3m4s5ms", 93_784_005),
        ("0s", 0),
    ],
)
def test_a_duration_is_the_sum_of_its_parts(text: str, milliseconds: int) -> None:
    """Each number counts in its unit."""
    assert parse(text).milliseconds == milliseconds
    assert parse(text).seconds == milliseconds / 1_000


@pytest.mark.parametrize(
    "text", ["", "5", "s", "5 s", "-5s", "1.5s", "30m1h", "5s5s", "5S", "1w", "\u0665s", "5s,"]
)
def test_what_is_no_duration_is_refused_without_repeating_it(text: str) -> None:
    """The message says what a duration is, and leaves out what might be a secret."""
    with pytest.raises(ValueError, match=r"^is not a duration: whole numbers with the units"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [("120s", "2m"), ("2m", "2m"), ("90s", "90s"), ("1m30s", "90s"), ("24h", "1d"), ("0m", "0s")],
)
def test_equal_durations_have_one_text(text: str, canonical: str) -> None:
    """The text is in the largest unit that divides the duration."""
    assert parse(text).text == str(parse(text)) == canonical


@given(st.integers(min_value=0, max_value=10**12))
def test_text_reads_back_as_the_same_duration(milliseconds: int) -> None:
    """Writing and reading a duration gives it back."""
    assert parse(Duration(milliseconds).text) == Duration(milliseconds)


@given(st.lists(st.sampled_from(list(UNITS)), unique=True, min_size=1), st.data())
def test_units_from_large_to_small_add_up(units: list[str], data: st.DataObject) -> None:
    """Any choice of units, larger first, is read as the sum of its parts."""
    parts = {
        unit: data.draw(st.integers(0, 10_000)) for unit in sorted(units, key=list(UNITS).index)
    }
    text = "".join(f"{count}{unit}" for unit, count in parts.items())
    assert parse(text).milliseconds == sum(count * UNITS[unit] for unit, count in parts.items())


@pytest.mark.parametrize(
    ("texts", "fault"),
    [
        ([], "is empty"),
        (["0s"], "has a delay of zero"),
        (["2m", "5s", "120s"], "contains the same delay twice"),
        (["5s", "soon"], "is not a duration"),
    ],
)
def test_a_bad_schedule_is_refused(texts: list[str], fault: str) -> None:
    """A schedule has delays, all different, none of them zero."""
    with pytest.raises(ValueError, match=fault):
        parse_schedule(texts)


def test_a_schedule_keeps_its_order() -> None:
    """Delays come in the order written, each under its canonical text."""
    assert [delay.text for delay in parse_schedule(["30s", "5000ms", "120s"])] == [
        "30s",
        "5s",
        "2m",
    ]
