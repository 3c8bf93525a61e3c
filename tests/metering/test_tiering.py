"""Which tier, and the reason a customer is given."""

import uuid

import pytest

from metering.boundaries import Boundaries, Boundary
from metering.sittings import Sitting, cut
from metering.tiering import TierLimits, TierRules, classify, count_tokens, count_turns, explain
from tests.cast import DEFAULT_TIERS, at, report
from tests.metering.test_sittings import DEFAULT

TIERS = tuple(TierLimits(*tier) for tier in DEFAULT_TIERS)
RULES = TierRules(uuid.UUID(int=1), "default", 3, "processed", False, TIERS)


def sitting_of(*reports: object) -> Sitting:
    boundaries = Boundaries(
        (), [Boundary(DEFAULT.starts_at, None, DEFAULT.version_id, DEFAULT.max_age, DEFAULT.max_age)]
    )
    (sitting,) = cut([one.event for one in reports], boundaries)
    return sitting


@pytest.mark.parametrize(
    ("turns", "tokens", "tier"),
    [
        (0, 0, "simple"),
        (3, 4_999, "simple"),
        (4, 0, "standard"),
        (0, 5_000, "standard"),
        (9, 19_999, "standard"),
        (10, 1, "complex"),
        (1, 20_000, "complex"),
        (29, 79_999, "complex"),
        (30, 0, "enterprise"),
        (0, 80_000, "enterprise"),
        (10**6, 10**12, "enterprise"),
    ],
)
def test_a_tier_admits_what_is_below_both_its_limits(turns: int, tokens: int, tier: str) -> None:
    assert TIERS[classify(turns, tokens, TIERS)].code == tier


def test_a_limit_may_be_left_out() -> None:
    tiers = (TierLimits("short", 3, None), TierLimits("rest", None, None))
    assert [classify(2, 10**9, tiers), classify(3, 0, tiers)] == [0, 1]


def test_turns_are_those_named_or_else_the_first_attempts_that_succeeded() -> None:
    assert count_turns(sitting_of(report(turn=4), report(), report(turn=6))) == 3
    assert count_turns(sitting_of(report(), report(attempt=2), report(status="error"), report(kind="tool"))) == 1


@pytest.mark.parametrize(
    ("basis", "count_retries", "tokens"),
    [
        ("processed", False, 1_111),
        ("processed", True, 3_333),
        ("fresh", False, 1_011),
        ("fresh", True, 3_033),
        ("context", False, 1_111),
        ("context", True, 2_222),
    ],
)
def test_the_token_bases(basis: str, count_retries: bool, tokens: int) -> None:
    sitting = sitting_of(report(tokens=(1_000, 100, 10, 1, 0)), report(tokens=(2_000, 200, 20, 2, 0), attempt=2))
    assert count_tokens(sitting, basis, count_retries) == tokens


def test_the_explanation_names_the_first_limit_crossed_and_the_event() -> None:
    reports = [report(f"e{turn}", turn, turn=turn) for turn in range(1, 6)]
    told = explain(sitting_of(*reports), [one.event for one in reports], RULES)
    assert (told.tier, told.turns, told.tokens, told.cheaper_tier) == ("standard", 5, 5_000, "simple")
    assert (told.crossed.limit, told.crossed.value, told.crossed.event_id) == ("turns", 4, "e4")
    assert (told.turns_over, told.tokens_over) == (2, 1)
    assert told.sentence == (
        "This conversation had 5 turns and 5,000 tokens, which is standard: "
        "simple needs fewer than 4 turns and fewer than 5,000 tokens."
    )


def test_the_cheapest_tier_needs_no_reason() -> None:
    told = explain(sitting_of(report()), [report().event], RULES)
    assert (told.cheaper_tier, told.crossed, told.turns_over) == (None, None, None)
    assert told.sentence == "This conversation had 1 turn and 1,000 tokens, which is simple."


def test_shrinking_by_what_it_is_over_makes_it_cheaper() -> None:
    sitting = sitting_of(report(tokens=(7_000, 0, 0, 0, 0)))
    told = explain(sitting, [report("big", at(0), tokens=(7_000, 0, 0, 0, 0)).event], RULES)
    assert TIERS[classify(told.turns, told.tokens - told.tokens_over, TIERS)].code == "simple"
    assert TIERS[classify(told.turns, told.tokens - told.tokens_over + 1, TIERS)].code == "standard"
    assert told.crossed.event_id == "big"
