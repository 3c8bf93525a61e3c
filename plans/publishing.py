"""How do tier schemes and plans come into force? As drafts that are published, once, and then frozen."""

import datetime as dt
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import msgspec
from django.db import IntegrityError, transaction
from django.db.models import Max

from plans.models import (
    ALWAYS,
    Customer,
    Plan,
    PlanVersion,
    SubscriptionPhase,
    Tier,
    TierScheme,
    TierSchemeVersion,
    VersionStatus,
)
from plans.terms import Terms, priced_tiers, terms_to_json
from plans.terms_reading import InvalidTerms, parse_terms

FOLD_MARGIN = dt.timedelta(minutes=5)
"""Events may be this far ahead of the clock, so a boundary rule comes into force no sooner."""


class CodeTaken(Exception):
    """Another plan or scheme has this code."""


class AlreadyPublished(Exception):
    """The version is published, so it is frozen."""


class InvalidScheme(ValueError):
    """The rules of a scheme cannot be so; `errors` has (JSON pointer, detail) pairs."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(detail)
        self.errors = [(pointer, detail)]


class SchemeRules(NamedTuple):
    """What a version of a tier scheme says; `tiers` are (code, max_turns, max_tokens), cheapest first."""

    idle_timeout: dt.timedelta
    max_age: dt.timedelta
    token_basis: str
    count_retries: bool
    tiers: Sequence[tuple[str, int | None, int | None]]


def create_scheme(*, code: str, rules: SchemeRules, now: dt.datetime) -> TierSchemeVersion:
    """A new scheme whose first version is published and rules since ever: nobody was under it before."""
    with transaction.atomic():
        try:
            with transaction.atomic():
                scheme = TierScheme.objects.create(code=code, created_at=now)
        except IntegrityError as error:
            raise CodeTaken(f"a tier scheme with the code {code!r} exists") from error
        version = draft_scheme_version(scheme, rules=rules, now=now)
        return _put_in_force(version, ALWAYS)


def draft_scheme_version(scheme: TierScheme, *, rules: SchemeRules, now: dt.datetime) -> TierSchemeVersion:
    """A further version of a scheme, to be published later. Raises InvalidScheme."""
    _check_rules(rules)
    with transaction.atomic():
        TierScheme.objects.select_for_update().get(pk=scheme.pk)
        return _write_draft(scheme, rules, now)


def _write_draft(scheme: TierScheme, rules: SchemeRules, now: dt.datetime) -> TierSchemeVersion:
    newest = scheme.versions.aggregate(newest=Max("version"))["newest"] or 0
    version = TierSchemeVersion.objects.create(
        scheme=scheme,
        version=newest + 1,
        idle_timeout=rules.idle_timeout,
        max_age=rules.max_age,
        token_basis=rules.token_basis,
        count_retries=rules.count_retries,
        created_at=now,
    )
    Tier.objects.bulk_create(
        Tier(scheme_version=version, position=position, code=code, max_turns=max_turns, max_tokens=max_tokens)
        for position, (code, max_turns, max_tokens) in enumerate(rules.tiers)
    )
    return version


def publish_scheme_version(
    version: TierSchemeVersion, *, effective_at: dt.datetime | None, now: dt.datetime
) -> TierSchemeVersion:
    """Put a version in force at `effective_at`, or as soon as may be. Raises AlreadyPublished, InvalidScheme."""
    with transaction.atomic():
        TierScheme.objects.select_for_update().get(pk=version.scheme_id)
        version.refresh_from_db()
        if version.status == VersionStatus.PUBLISHED:
            raise AlreadyPublished(f"{version} is published already")
        earliest = now + FOLD_MARGIN
        effective_at = earliest if effective_at is None else effective_at
        if effective_at < earliest:
            raise InvalidScheme("/effective_at", "must lie at least 5 minutes ahead: the past is frozen")
        if version.scheme.versions.filter(effective_at__gte=effective_at).exists():
            raise InvalidScheme("/effective_at", "a version comes into force then or later")
        _check_plans_price(version, effective_at)
        return _put_in_force(version, effective_at)


def _put_in_force(version: TierSchemeVersion, effective_at: dt.datetime) -> TierSchemeVersion:
    version.status, version.effective_at = VersionStatus.PUBLISHED, effective_at
    version.save(update_fields=["status", "effective_at"])
    return version


def _check_rules(rules: SchemeRules) -> None:
    if rules.idle_timeout <= dt.timedelta(0) or rules.max_age < rules.idle_timeout:
        raise InvalidScheme("/max_age", "the idle timeout is positive and no longer than the maximum age")
    if not rules.tiers:
        raise InvalidScheme("/tiers", "at least one tier is needed")
    codes = [code for code, _, _ in rules.tiers]
    if len(set(codes)) < len(codes):
        raise InvalidScheme("/tiers", "tier codes must differ")
    *limited, last = rules.tiers
    if last[1] is not None or last[2] is not None:
        raise InvalidScheme(f"/tiers/{len(limited)}", "the last tier has no limits, so that every conversation has one")
    for index, (_, max_turns, max_tokens) in enumerate(limited):
        if max_turns is None and max_tokens is None:
            raise InvalidScheme(f"/tiers/{index}", "only the last tier is without limits")


def _check_plans_price(version: TierSchemeVersion, effective_at: dt.datetime) -> None:
    codes = set(version.tiers.values_list("code", flat=True))
    phases = SubscriptionPhase.objects.filter(plan_version__tier_scheme=version.scheme_id)
    for phase in phases.exclude(ends_at__lte=effective_at).select_related("plan_version__plan"):
        missing = codes - priced_tiers(terms_of(phase.plan_version))
        if missing:
            raise InvalidScheme("/tiers", f"{phase.plan_version}, with subscribers, has no price for {sorted(missing)}")


def create_plan(*, code: str, name: str, customer: Customer | None, now: dt.datetime) -> Plan:
    """A plan without versions yet; with `customer` it is private. Raises CodeTaken."""
    try:
        with transaction.atomic():
            return Plan.objects.create(code=code, name=name, customer=customer, created_at=now)
    except IntegrityError as error:
        raise CodeTaken(f"a plan with the code {code!r} exists") from error


def clone_plan(original: PlanVersion, *, code: str, name: str, customer: Customer | None, now: dt.datetime) -> Plan:
    """A plan whose first draft has the terms of another plan's version, to be negotiated from. Raises CodeTaken."""
    with transaction.atomic():
        plan = create_plan(code=code, name=name, customer=customer, now=now)
        PlanVersion.objects.create(
            plan=plan, version=1, tier_scheme_id=original.tier_scheme_id, terms=original.terms, created_at=now
        )
        return plan


def draft_plan_version(plan: Plan, *, raw_terms: object, now: dt.datetime) -> PlanVersion:
    """A further version of a plan, to be published later. Raises InvalidTerms."""
    terms = parse_terms(raw_terms)
    with transaction.atomic():
        Plan.objects.select_for_update().get(pk=plan.pk)
        newest = plan.versions.aggregate(newest=Max("version"))["newest"] or 0
        return PlanVersion.objects.create(
            plan=plan,
            version=newest + 1,
            tier_scheme=_scheme_of(terms),
            terms=msgspec.json.encode(terms_to_json(terms)).decode(),
            created_at=now,
        )


def publish_plan_version(version: PlanVersion, *, now: dt.datetime) -> PlanVersion:
    """Offer a version to subscribers; from here on it is frozen. Raises AlreadyPublished, InvalidTerms."""
    with transaction.atomic():
        version = PlanVersion.objects.select_for_update().get(pk=version.pk)
        if version.status == VersionStatus.PUBLISHED:
            raise AlreadyPublished(f"{version} is published already")
        missing = unpriced_tiers(version)
        if missing:
            raise InvalidTerms(
                [(f"/rates/{tier}", "the tier scheme has this tier, so it needs a price") for tier in missing]
            )
        version.status, version.published_at = VersionStatus.PUBLISHED, now
        version.save(update_fields=["status", "published_at"])
        return version


def unpriced_tiers(version: PlanVersion) -> list[str]:
    """Codes of published tiers of the plan version's scheme that it has no price for."""
    tiers = Tier.objects.filter(
        scheme_version__scheme=version.tier_scheme_id, scheme_version__status=VersionStatus.PUBLISHED
    )
    return sorted(set(tiers.values_list("code", flat=True)) - priced_tiers(terms_of(version)))


def terms_of(version: PlanVersion) -> Terms:
    """The agreed terms of a plan version."""
    return _read(version.terms)


@lru_cache(maxsize=256)
def _read(written: str) -> Terms:
    return parse_terms(msgspec.json.decode(written))


def _scheme_of(terms: Terms) -> TierScheme:
    try:
        return TierScheme.objects.get(code=terms.tier_scheme)
    except TierScheme.DoesNotExist as error:
        raise InvalidTerms([("/tier_scheme", f"no tier scheme has the code {terms.tier_scheme!r}")]) from error
