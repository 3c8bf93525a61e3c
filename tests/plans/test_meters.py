"""Which conversations count, and at which hours."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plans.meters import EVERYTHING, Meters, PeakWindow, is_peak, meter_of, meters_of, peak_spans
from plans.terms_reading import parse_terms
from tests.cast import raw_terms

OFFICE = PeakWindow((0, 1, 2, 3, 4), 8 * 60, 20 * 60)
MICROSECOND = dt.timedelta(microseconds=1)
DAY = dt.timedelta(days=1)

ODD_ZONES = [
    "Europe/Berlin",
    "America/New_York",
    "America/Winnipeg",
    "Africa/Casablanca",
    "Africa/Monrovia",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "America/Boa_Vista",
    "CET",
    "UTC",
]
"""Changes of an hour and half an hour, at midnight, by a whole day, twice within a week, and offsets to the second."""
CHANGES = [
    dt.datetime(*change, tzinfo=dt.UTC)
    for change in (
        (2026, 3, 29, 1),
        (2026, 10, 25, 1),
        (2026, 11, 1, 6),
        (1972, 1, 7, 0, 44, 30),
        (1985, 12, 31, 18, 30),
        (2026, 4, 4, 15),
        (2011, 12, 30, 10),
        (2000, 10, 8, 4),
        (2000, 10, 15, 3),
        (2026, 2, 15, 2),
    )
]
"""Some of the instants at which clocks of these zones jump."""

windows = st.builds(
    lambda days, bounds: PeakWindow(tuple(sorted(days)), *sorted(bounds)),
    st.sets(st.integers(0, 6), min_size=1),
    st.sets(st.sampled_from([0, 60, 119, 120, 121, 150, 180, 480, 1200, 1439, 1440]), min_size=2, max_size=2),
)
all_meters = st.builds(
    lambda hours, zone, outcomes: Meters(outcomes, tuple(hours), frozenset({"simple"}), zone),
    st.lists(windows, min_size=1, max_size=3),
    st.sampled_from(ODD_ZONES),
    st.sampled_from([None, ("resolved",), ("resolved", "done")]),
)
instants = st.builds(
    lambda change, minutes, offset: change + dt.timedelta(minutes=minutes) + offset,
    st.sampled_from(CHANGES),
    st.integers(-3 * 1440, 3 * 1440),
    st.sampled_from([dt.timedelta(0), MICROSECOND, -MICROSECOND, dt.timedelta(seconds=30)]),
)


def utc(*moment: int) -> dt.datetime:
    return dt.datetime(*moment, tzinfo=dt.UTC)


def test_the_terms_say_what_counts() -> None:
    flat = {"model": "flat", "unit": "0.02"}
    hours = [{"days": ["mon", "sun"], "from": "08:30", "to": "24:00"}]
    rates = {"simple": {"price": flat, "peak": {"price": flat}}, "complex": {"price": flat}}
    terms = parse_terms(raw_terms(rates=rates, peak_hours=hours, billable_outcomes=["resolved"]))
    expected = Meters(("resolved",), (PeakWindow((0, 6), 510, 1440),), frozenset({"simple"}), "Asia/Tokyo")
    assert meters_of(terms, "Asia/Tokyo") == expected
    assert meters_of(parse_terms(raw_terms()), "UTC") == EVERYTHING


@pytest.mark.parametrize(
    ("instant", "peak"),
    [
        (utc(2026, 11, 2, 8), True),
        (utc(2026, 11, 2, 8) - MICROSECOND, False),
        (utc(2026, 11, 2, 20) - MICROSECOND, True),
        (utc(2026, 11, 2, 20), False),
        (utc(2026, 11, 7, 12), False),
    ],
)
def test_peak_hours_are_half_open_and_of_their_days(instant: dt.datetime, peak: bool) -> None:
    meters = Meters(peak_hours=(OFFICE,), peak_tiers=frozenset({"simple"}))
    assert is_peak(meters, instant) is peak
    assert meter_of(meters, "simple", None, instant) == ("simple@peak" if peak else "simple")
    assert meter_of(meters, "complex", None, instant) == "complex"


def test_peak_hours_are_those_of_the_customers_clock() -> None:
    meters = Meters(peak_hours=(OFFICE,), zone="America/New_York")
    assert not is_peak(meters, utc(2026, 11, 2, 12, 59))
    assert is_peak(meters, utc(2026, 11, 2, 13))
    assert is_peak(meters, utc(2026, 10, 30, 12))


def test_what_has_another_outcome_or_none_is_not_counted() -> None:
    meters = Meters(billable_outcomes=("resolved", "done"))
    counted = [meter_of(meters, "simple", outcome, utc(2026, 1, 1)) for outcome in ("done", "escalated", None)]
    assert counted == ["simple", None, None]
    assert meter_of(EVERYTHING, "simple", None, utc(2026, 1, 1)) == "simple"


def test_an_hour_that_clocks_show_twice_is_peak_twice_and_one_they_skip_never() -> None:
    meters = Meters(peak_hours=(PeakWindow((6,), 150, 180),), zone="Europe/Berlin")
    assert peak_spans(meters, utc(2026, 10, 25), utc(2026, 10, 26)) == [
        (utc(2026, 10, 25, 0, 30), utc(2026, 10, 25, 1)),
        (utc(2026, 10, 25, 1, 30), utc(2026, 10, 25, 2)),
    ]
    assert peak_spans(meters, utc(2026, 3, 29), utc(2026, 3, 30)) == []


def test_peak_spans_are_clipped_to_the_span_asked_for() -> None:
    meters = Meters(peak_hours=(OFFICE,))
    start, end = utc(2026, 11, 2, 9, 0, 0, 1), utc(2026, 11, 3, 8, 0, 0, 1)
    assert peak_spans(meters, start, end) == [(start, utc(2026, 11, 2, 20)), (utc(2026, 11, 3, 8), end)]
    assert peak_spans(meters, end, end) == peak_spans(EVERYTHING, start, end) == []


@given(
    meters=all_meters, instant=instants, before=st.timedeltas(DAY * 0, DAY * 40), after=st.timedeltas(DAY * 0, DAY * 40)
)
def test_an_instant_is_in_a_peak_span_if_the_clock_shows_a_peak_hour(
    meters: Meters, instant: dt.datetime, before: dt.timedelta, after: dt.timedelta
) -> None:
    spans = peak_spans(meters, instant - before, instant + after + MICROSECOND)
    assert any(begin <= instant < end for begin, end in spans) is is_peak(meters, instant)
    assert all(instant - before <= begin < end <= instant + after + MICROSECOND for begin, end in spans)


@pytest.mark.parametrize("zone", ODD_ZONES)
def test_no_change_of_clocks_is_overlooked(zone: str) -> None:
    """Every 13 hours of a generation: it is peak when the clock says so."""
    meters = Meters(peak_hours=(PeakWindow((0, 2, 4, 6), 0, 720), PeakWindow((1, 3), 601, 1440)), zone=zone)
    instant, end = utc(1999, 1, 1), utc(2029, 1, 1)
    spans = iter(peak_spans(meters, instant, end))
    begin, until = next(spans)
    while instant < end:
        while until <= instant:
            begin, until = next(spans, (end, end + DAY))
        assert (begin <= instant) is is_peak(meters, instant)
        instant += dt.timedelta(hours=13)
