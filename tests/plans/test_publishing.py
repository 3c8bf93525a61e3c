"""Drafts are published once, then frozen: against our own code, raw SQL, and prices that would be missing."""

import datetime as dt

import pytest
from django.db import IntegrityError, connection, transaction

from plans.models import PlanVersion, Tier, TierScheme, TierSchemeVersion, VersionStatus
from plans.publishing import (
    AlreadyPublished,
    CodeTaken,
    InvalidScheme,
    create_plan,
    create_scheme,
    draft_plan_version,
    draft_scheme_version,
    publish_plan_version,
    publish_scheme_version,
    terms_of,
)
from plans.subscribing import SubscriptionRefused
from plans.terms_reading import InvalidTerms
from tests.cast import DEFAULT_TIERS, NOON, a_plan, a_scheme, acme, at, canceled, raw_terms, scheme_rules, subscribed

pytestmark = pytest.mark.django_db

DAY = dt.timedelta(days=1)
WITH_MEGA = [*DEFAULT_TIERS[:-1], ("enterprise", 100, None), ("mega", None, None)]


def default_scheme() -> TierScheme:
    return TierScheme.objects.get(code="default")


def refused_by_the_database(sql: str, *values: object) -> bool:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(sql, values)
    except IntegrityError as error:
        return "frozen" in str(error)
    return False


def test_the_default_scheme_is_there_and_in_force_since_ever() -> None:
    version = default_scheme().versions.get()
    assert (version.status, version.effective_at.year, version.token_basis) == ("published", 1970, "processed")
    assert tuple(version.tiers.values_list("code", "max_turns", "max_tokens")) == DEFAULT_TIERS
    assert (version.idle_timeout, version.max_age) == (DAY, 3 * DAY)


def test_a_published_plan_version_is_frozen_against_raw_sql() -> None:
    version = a_plan().versions.get()
    assert refused_by_the_database("UPDATE plans_planversion SET terms = '{}' WHERE id = %s", version.pk)
    assert refused_by_the_database("UPDATE plans_planversion SET status = 'draft' WHERE id = %s", version.pk)
    assert refused_by_the_database("DELETE FROM plans_planversion WHERE id = %s", version.pk)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE plans_tierschemeversion SET idle_timeout = '1 hour' WHERE id = %s",
        "UPDATE plans_tierschemeversion SET status = 'draft' WHERE id = %s",
        "DELETE FROM plans_tierschemeversion WHERE id = %s",
        "UPDATE plans_tier SET max_tokens = 1 WHERE scheme_version_id = %s",
        "DELETE FROM plans_tier WHERE scheme_version_id = %s",
        "INSERT INTO plans_tier (id, scheme_version_id, position, code) VALUES (gen_random_uuid(), %s, 9, 'more')",
    ],
)
def test_a_published_scheme_version_and_its_tiers_are_frozen_against_raw_sql(sql: str) -> None:
    assert refused_by_the_database(sql, default_scheme().versions.get().pk)


def test_a_tier_cannot_be_moved_from_a_draft_into_a_published_version() -> None:
    published = default_scheme().versions.get()
    draft = draft_scheme_version(default_scheme(), rules=scheme_rules(tiers=[("more", None, None)]), now=NOON)
    move = "UPDATE plans_tier SET scheme_version_id = %s, position = 9 WHERE scheme_version_id = %s"
    assert refused_by_the_database(move, published.pk, draft.pk)


def test_a_draft_may_still_change() -> None:
    draft = draft_scheme_version(default_scheme(), rules=scheme_rules(), now=NOON)
    Tier.objects.filter(scheme_version=draft, code="simple").update(max_turns=5)
    draft.delete()
    assert default_scheme().versions.count() == 1


def test_nothing_is_published_twice() -> None:
    with pytest.raises(AlreadyPublished):
        publish_plan_version(a_plan().versions.get(), now=NOON)
    with pytest.raises(AlreadyPublished):
        publish_scheme_version(default_scheme().versions.get(), effective_at=None, now=NOON)


def test_a_code_belongs_to_one_plan_and_one_scheme() -> None:
    a_plan("growth"), a_scheme("support")
    with pytest.raises(CodeTaken):
        create_plan(code="growth", name="Again", customer=None, now=NOON)
    with pytest.raises(CodeTaken):
        create_scheme(code="support", rules=scheme_rules(), now=NOON)
    assert TierScheme.objects.count() == 2


@pytest.mark.parametrize(
    ("pointer", "rules"),
    [
        ("/max_age", {"idle_hours": 0}),
        ("/max_age", {"idle_hours": 5, "max_age_hours": 4}),
        ("/tiers", {"tiers": []}),
        ("/tiers", {"tiers": [("a", 1, 1), ("a", None, None)]}),
        ("/tiers/1", {"tiers": [("a", 1, 1), ("b", None, 9)]}),
        ("/tiers/0", {"tiers": [("a", None, None), ("b", None, None)]}),
    ],
)
def test_rules_that_could_leave_a_conversation_without_a_tier_are_refused(
    pointer: str, rules: dict[str, object]
) -> None:
    with pytest.raises(InvalidScheme) as refused:
        a_scheme(**rules)
    assert refused.value.errors[0][0] == pointer
    assert TierScheme.objects.count() == 1


def publish(tiers: object = DEFAULT_TIERS, effective_at: dt.datetime | None = None) -> TierSchemeVersion:
    draft = draft_scheme_version(default_scheme(), rules=scheme_rules(tiers=tiers), now=NOON)
    return publish_scheme_version(draft, effective_at=effective_at, now=NOON)


def test_a_new_version_comes_into_force_ahead_of_any_event_that_could_have_arrived() -> None:
    assert publish().effective_at == NOON + dt.timedelta(minutes=5)
    for too_soon in (NOON, NOON + dt.timedelta(minutes=5)):
        with pytest.raises(InvalidScheme):
            publish(effective_at=too_soon)
    assert publish(effective_at=at(1)).effective_at == at(1)


def test_a_scheme_cannot_get_a_tier_that_a_subscriber_has_no_price_for() -> None:
    subscription = subscribed(acme(), a_plan())
    with pytest.raises(InvalidScheme, match="mega"):
        publish(WITH_MEGA)
    end = canceled(subscription, now=NOON).ends_at
    with pytest.raises(InvalidScheme, match="mega"):
        publish(WITH_MEGA, effective_at=end - DAY)
    assert publish(WITH_MEGA, effective_at=end).status == VersionStatus.PUBLISHED


def test_a_plan_without_a_price_for_a_tier_is_neither_published_nor_sold() -> None:
    old = a_plan("old")
    publish(WITH_MEGA)
    with pytest.raises(InvalidTerms) as missing:
        a_plan("new")
    assert missing.value.errors == [("/rates/mega", "the tier scheme has this tier, so it needs a price")]
    with pytest.raises(SubscriptionRefused, match="mega"):
        subscribed(acme(), old)


def test_versions_are_counted_and_keep_their_terms() -> None:
    plan = a_plan(base_fee="10.00")
    draft = draft_plan_version(plan, raw_terms=raw_terms(base_fee="20.00"), now=NOON)
    assert (draft.version, draft.status, draft.published_at) == (2, "draft", None)
    assert [str(terms_of(version).base_fee) for version in plan.versions.order_by("version")] == ["10.00", "20.00"]
    assert list(terms_of(draft).rates) == ["simple", "standard", "complex", "enterprise"]


def test_terms_name_a_scheme_that_exists() -> None:
    with pytest.raises(InvalidTerms) as refused:
        a_plan(tier_scheme="none-such")
    assert refused.value.errors[0][0] == "/tier_scheme"
    assert not PlanVersion.objects.exists()
