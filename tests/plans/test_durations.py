"""ISO 8601 durations of fixed length are read exactly and written in one way."""

import datetime as dt

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plans.durations import InvalidDuration, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "hours", "canonical"),
    [
        ("PT24H", 24, "PT24H"),
        ("P1D", 24, "PT24H"),
        ("PT72H", 72, "PT72H"),
        ("P1W", 168, "PT168H"),
        ("PT90M", 1.5, "PT1H30M"),
        ("PT0S", 0, "PT0S"),
        ("PT3600.000S", 1, "PT1H"),
    ],
)
def test_durations_are_read_and_written(text: str, hours: float, canonical: str) -> None:
    assert parse_duration(text) == dt.timedelta(hours=hours)
    assert format_duration(parse_duration(text)) == canonical


@pytest.mark.parametrize(
    "text",
    [
        "",
        "P",
        "PT",
        "P1DT",
        "-PT1H",
        "PT-1H",
        "P1Y",
        "P1M",
        "PT1.5H",
        "pt1h",
        "PT1H ",
        "24H",
        "PT\u0661H",
        "P999999999W",
    ],
)
def test_what_is_no_duration_of_fixed_length_is_refused(text: str) -> None:
    with pytest.raises(InvalidDuration):
        parse_duration(text)


def test_a_negative_duration_is_not_written() -> None:
    with pytest.raises(InvalidDuration):
        format_duration(dt.timedelta(microseconds=-1))


@given(st.timedeltas(min_value=dt.timedelta(0)))
def test_durations_survive_writing_and_agree_with_another_reader(duration: dt.timedelta) -> None:
    text = format_duration(duration)
    assert parse_duration(text) == duration
    assert msgspec.convert(text, dt.timedelta) == duration
