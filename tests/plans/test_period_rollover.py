"""Unused allowance is carried into the next periods, used first, and lapses in time."""

import pytest

from plans.period_bill import Layer, bill_period
from tests.plans.a_june import GROWTH, JUNE, agreed, flat, halves, whole

ROLLING = agreed(rates={"simple": flat("1.00", 100)}, rollover={"periods": 2, "maximum": 150})


def test_unused_allowance_is_used_first_in_the_next_period() -> None:
    first = bill_period(whole(ROLLING, {"simple": 70}), JUNE)
    assert first.rolled == {"simple": (Layer(2, 30),)}
    second = bill_period(whole(ROLLING, {"simple": 110}), JUNE, rolled=first.rolled)
    assert second.charges[0].explanation == "110 simple conversations: 110 included (30 rolled over) = 0.00 USD"
    assert second.charges[0].details["rolled_over"] == 30
    assert second.rolled == {"simple": (Layer(2, 20),)}


@pytest.mark.parametrize(
    ("used", "left"),
    [
        (0, (Layer(1, 50), Layer(2, 100))),
        (45, (Layer(1, 50), Layer(2, 100))),
        (60, (Layer(1, 40), Layer(2, 100))),
        (150, (Layer(2, 50),)),
        (300, ()),
    ],
)
def test_layers_age_lapse_and_are_capped_from_the_oldest(used: int, left: tuple[Layer, ...]) -> None:
    """40 units that lapse now, 60 that are usable once more, 100 fresh ones; no more than 150 are carried."""
    rolled = {"simple": (Layer(1, 40), Layer(2, 60))}
    bill = bill_period(whole(ROLLING, {"simple": used}), JUNE, rolled=rolled)
    assert bill.rolled.get("simple", ()) == left
    assert bill.total == max(0, used - 200) * 100


def test_the_terms_at_the_end_of_the_period_say_whether_anything_is_carried() -> None:
    rolled = {"simple": (Layer(9, 5),), "standard": (Layer(9, 5),)}
    assert bill_period(halves({"terms": ROLLING}, {"terms": GROWTH}), JUNE, rolled=rolled).rolled == {}
    kept = bill_period(halves({"terms": GROWTH}, {"terms": ROLLING}), JUNE, rolled=rolled).rolled
    assert kept == {"simple": (Layer(2, 150),)}


def test_a_pause_ages_what_was_rolled_over() -> None:
    rolled = {"simple": (Layer(1, 5), Layer(2, 6))}
    assert bill_period(whole(ROLLING, paused=True), JUNE, rolled=rolled).rolled == {"simple": (Layer(1, 6),)}
