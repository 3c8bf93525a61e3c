"""The tier is fixed at the settling instant, in SQL, by the rule that the pure code explains."""

import datetime as dt
import random
from collections.abc import Callable

import pytest
from django.db import connection, transaction
from django.db.models import F
from hypothesis import given
from hypothesis import strategies as st

from billing.books.checking import check
from metering import settling
from metering.conversation_rows import sittings as stored_sittings
from metering.folding import load_boundaries
from metering.models import Conversation, OpenConversation, SettledConversation
from metering.reports import Report
from metering.settling import CLASSIFY_OPEN, settle_customers
from metering.tier_rules import RULES
from metering.tiering import TierLimits, classify, count_tokens, count_turns
from plans.changing import cancel
from plans.models import TierScheme
from plans.publishing import draft_scheme_version, publish_scheme_version
from tests.cast import (
    LATER,
    NOON,
    a_plan,
    a_scheme,
    acme,
    at,
    bolt,
    report,
    scheme_rules,
    send,
    settled,
    sittings_of,
    subscribed,
    the_settled,
    the_sitting,
)
from tests.metering.conftest import Sessions
from tests.metering.histories import histories, in_batches, random_histories
from tests.metering.test_concurrency import wait_until_blocked
from tests.served.serving import eventually

pytestmark = pytest.mark.django_db

Limits = tuple[int | None, int | None]
"""Of turns and of tokens."""
all_limits = st.lists(
    st.tuples(st.sampled_from([None, 1, 2, 3, 4, 12]), st.sampled_from([None, 1, 401, 2_500, 9_000])).filter(any),
    max_size=4,
)
"""Of the tiers of a scheme but the last, in any order: a dearer tier may ask for less."""


def test_a_conversation_settles_at_its_instant_and_not_before() -> None:
    acme()
    send([report("e1", 0)])
    assert settled(23.99) == 0
    assert settled(24) == 1
    fixed = the_settled()
    assert (fixed.settled_at, fixed.tier, fixed.turns, fixed.counted_tokens) == (at(24), "simple", 1, 1_000)
    assert settled(25) == 0


def test_all_customers_are_settled_and_progress_is_told() -> None:
    acme(), bolt()
    send([report("e1"), report("e1", customer="bolt")])
    assert settled() == 2


@pytest.mark.parametrize("batch", [1, 2, 3, 20])
def test_however_small_the_batches_everything_due_is_settled_once(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "BATCH", batch)
    acme(), bolt()
    send(report(f"{who}{n}", n, conversation=f"c{n}", customer=who) for n in range(4) for who in ("acme", "bolt"))
    steps: list[int] = []
    assert settling.settle(as_of=at(26), now=LATER, progress=steps.append) == sum(steps) == 6
    assert max(steps) <= batch
    assert settled() == 2
    assert not OpenConversation.objects.exists()


@pytest.mark.parametrize(
    ("turns", "tokens", "tier"),
    [
        (3, 4_999, "simple"),
        (4, 4_999, "standard"),
        (3, 5_000, "standard"),
        (9, 19_999, "standard"),
        (10, 1, "complex"),
        (1, 20_000, "complex"),
        (29, 79_999, "complex"),
        (30, 1, "enterprise"),
        (1, 80_000, "enterprise"),
    ],
)
def test_exactly_at_a_limit_is_the_next_tier(turns: int, tokens: int, tier: str) -> None:
    acme()
    send([report("e1", tokens=(tokens, 0, 0, 0, 0), turn=1), report("e2", 1, tokens=(0, 0, 0, 0, 0), turn=turns)])
    settled()
    assert the_settled().tier == tier


def test_retries_and_failed_calls_do_not_make_a_conversation_dearer() -> None:
    acme()
    send([report("e1"), report("e2", attempt=2, tokens=(90_000, 0, 0, 0, 0)), report("e3", status="error")])
    settled()
    assert (the_settled().tier, the_settled().counted_tokens, the_sitting().calls) == ("simple", 1_000, 3)


def test_the_limits_are_those_in_force_at_the_settling_instant() -> None:
    """The boundary was that of the first event: the new version's is shorter, but the sitting keeps its own."""
    acme()
    draft = draft_scheme_version(
        TierScheme.objects.get(code="default"),
        rules=scheme_rules(idle_hours=1, tiers=[("simple", 4, 900), ("dear", None, None)]),
        now=NOON,
    )
    new = publish_scheme_version(draft, effective_at=at(24), now=NOON)
    send([report("e1", 0), report("e2", -1, conversation="other")])
    settled()
    assert (the_settled().tier, the_settled().scheme_version_id, the_settled().settled_at) == ("dear", new.pk, at(24))
    assert the_sitting().boundary_id != new.pk
    assert the_settled(conversation="other").tier == "simple"


def test_a_subscription_in_the_past_puts_settled_conversations_into_its_schemes_tiers() -> None:
    customer = acme()
    send([report("e1", 0), report("e2", 10), report("old", -100, conversation="before")])
    settled()
    a_scheme(idle_hours=5, tiers=[("all", None, None)])
    subscribed(customer, a_plan(tier_scheme="support", rates={"all": "1"}), since=-1)
    settled()
    assert [(row.settled.tier, row.settled.settled_at) for row in sittings_of()] == [("all", at(5)), ("all", at(15))]
    assert (the_settled(conversation="before").tier, the_sitting(conversation="before").revision) == (
        "simple",
        1,
    )


def test_after_a_subscription_has_ended_the_default_scheme_rules_again() -> None:
    customer = acme()
    a_scheme(tiers=[("all", None, None)])
    subscription = subscribed(customer, a_plan(tier_scheme="support", rates={"all": "1"}))
    end = cancel(subscription.pk, when="period_end", now=NOON).ends_at
    send([report("e1", 0), report("e2", end, conversation="after")])
    settled()
    assert (the_settled().tier, the_settled(conversation="after").tier) == ("all", "simple")


def test_another_customers_scheme_changes_nothing_for_acme() -> None:
    acme()
    a_scheme(tiers=[("all", None, None)])
    subscribed(bolt(), a_plan(tier_scheme="support", rates={"all": "1"}), since=-99)
    send([report("e1", 0)])
    settled()
    assert the_settled().tier == "simple"


def test_an_open_conversation_is_in_the_tier_it_would_settle_in() -> None:
    acme()
    send([report("e1", tokens=(6_000, 0, 0, 0, 0))])
    with connection.cursor() as cursor:
        cursor.execute(f"WITH {RULES} {CLASSIFY_OPEN}", {"customers": [acme().pk]})
        ((*_, tier, turns, tokens),) = cursor.fetchall()
    assert (tier, turns, tokens) == ("standard", 1, 6_000)


@random_histories
@given(
    history=histories(),
    seed=st.integers(0, 2**32),
    limits=all_limits,
    basis=st.sampled_from(["processed", "fresh", "context"]),
    count_retries=st.booleans(),
)
def test_settling_in_sql_is_the_pure_rule_and_can_be_done_at_any_time(
    history: list[Report], seed: int, limits: list[Limits], basis: str, count_retries: bool
) -> None:
    chance = random.Random(seed)
    with transaction.atomic():
        customer = acme()
        rules = [*((f"t{place}", *pair) for place, pair in enumerate(limits)), ("last", None, None)]
        a_scheme(token_basis=basis, count_retries=count_retries, tiers=rules)
        rates = {code: "0.01" for code, _, _ in rules}
        subscribed(customer, a_plan(tier_scheme="support", rates=rates), since=at(-9999))
        always = chance.random() < 0.5
        for batch in in_batches(history, chance):
            send(batch)
            if always:
                settled()
        settled()
        boundaries = load_boundaries([customer.id])
        for row in Conversation.objects.filter(customer=customer).select_related("settled"):
            fold = stored_sittings([(customer.id, row.reference)], boundaries)[0][row.ordinal - 1].sitting
            turns, tokens = count_turns(fold), count_tokens(fold, basis, count_retries)
            version = row.settled.scheme_version
            tiers = [TierLimits(*tier) for tier in version.tiers.values_list("code", "max_turns", "max_tokens")]
            assert version.scheme.code == "support"
            assert (row.settled.turns, row.settled.counted_tokens) == (turns, tokens)
            assert row.settled.tier == tiers[classify(turns, tokens, tiers)].code
            assert (row.settled.settled_at, row.settled.outcome) == (row.settles_at, row.outcome)
        assert check(LATER, only=["settled_conversation_is_in_its_tier"]) == []
        transaction.set_rollback(True)


def test_a_sweep_of_many_batches_settles_two_at_a_time(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "BATCH", 3)
    acme(), bolt()
    send(report(f"{who}{n}", conversation=f"c{n}", customer=who) for n in range(10) for who in ("acme", "bolt"))
    with transaction.atomic():
        OpenConversation.objects.select_for_update().get(id=the_sitting("bolt", "c0").id)
        sweep = sessions.start(settled)
        wait_until_blocked()
        assert eventually(lambda: SettledConversation.objects.count() >= 3, within_s=20)
    assert sweep.result() == 20
    assert {row.tier for row in SettledConversation.objects.all()} == {"simple"}


@pytest.mark.parametrize("sweeps", [settled, lambda: settle_customers([acme().id], as_of=LATER)], ids=["all", "of one"])
def test_what_changes_before_a_sweeps_eyes_is_looked_at_again(sessions: Sessions, sweeps: Callable[[], int]) -> None:
    acme()
    send([report("e1")])
    with transaction.atomic():
        Conversation.objects.update(min_turn=1, max_turn=40)  # as a fold does, with the usage lock shared
        OpenConversation.objects.update(settles_at=F("settles_at"))
        sweep = sessions.start(sweeps)
        wait_until_blocked()
    assert sweep.result() == 1
    assert (the_settled().tier, the_settled().turns) == ("enterprise", 40)


def test_what_is_no_longer_due_when_a_sweep_comes_to_it_stays_open(sessions: Sessions) -> None:
    acme()
    send([report("e1")])
    with transaction.atomic():
        Conversation.objects.update(settles_at=LATER + dt.timedelta(days=1))
        OpenConversation.objects.update(settles_at=LATER + dt.timedelta(days=1))
        sweep = sessions.start(settled)
        wait_until_blocked()
    assert sweep.result() == 0
    assert the_sitting().settled is None
