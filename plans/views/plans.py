"""`/v1/plans`: what is for sale, in versions."""

import datetime as dt
import uuid
from typing import Annotated, Any

import msgspec
from django.utils import timezone
from msgspec import Meta
from rest_framework.request import Request

from api.endpoints import Answer, Endpoint, operation
from api.pagination import Page, PageQuery, paginated
from api.problems import not_found
from api.strict_json import Body
from plans.models import Plan, PlanVersion, VersionStatus
from plans.publishing import (
    AlreadyPublished,
    CodeTaken,
    clone_plan,
    create_plan,
    draft_plan_version,
    publish_plan_version,
)
from plans.terms_reading import InvalidTerms
from plans.views.customers import Key, get_customer
from plans.views.tier_schemes import Code

PlanName = Annotated[str, Meta(min_length=1, max_length=200)]


class NewPlan(Body):
    """A plan to be; with `customer` it is a deal private to that customer.

    With `clone_of` its first draft has the terms of that plan's newest published version, or of `clone_version`.
    """

    code: Code
    name: PlanName
    customer: Key | None = None
    clone_of: Code | None = None
    clone_version: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None


class PlanOut(msgspec.Struct):
    """A plan and the number of its newest published version."""

    id: uuid.UUID
    code: str
    name: str
    customer: str | None
    published_version: int | None
    created_at: dt.datetime


class PlanVersionOut(msgspec.Struct):
    """A version of a plan with its terms."""

    id: uuid.UUID
    plan: str
    version: int
    status: str
    terms: dict[str, Any]
    created_at: dt.datetime
    published_at: dt.datetime | None


def plan_out(plan: Plan) -> PlanOut:
    newest = plan.versions.filter(published_at__isnull=False).order_by("-version").first()
    return PlanOut(
        id=plan.id,
        code=plan.code,
        name=plan.name,
        customer=plan.customer.key if plan.customer else None,
        published_version=newest.version if newest else None,
        created_at=plan.created_at,
    )


def plan_version_out(version: PlanVersion) -> PlanVersionOut:
    return PlanVersionOut(
        id=version.id,
        plan=version.plan.code,
        version=version.version,
        status=version.status,
        terms=msgspec.json.decode(version.terms),
        created_at=version.created_at,
        published_at=version.published_at,
    )


def get_plan(code: str) -> Plan:
    """The plan a URL or body names, or the problem 404."""
    try:
        return Plan.objects.get(code=code)
    except Plan.DoesNotExist as error:
        raise not_found(f"There is no plan {code!r}.") from error


def get_plan_version(code: str, version: int) -> PlanVersion:
    """The plan version a URL names, or the problem 404."""
    found = get_plan(code).versions.select_related("plan").filter(version=version).first()
    if found is None:
        raise not_found(f"The plan {code!r} has no version {version}.")
    return found


def get_published(code: str, version: int | None) -> PlanVersion:
    """The newest published version of a plan, or the named one; or the problem 404."""
    plan = get_plan(code)
    found = newest_published(plan) if version is None else plan.versions.filter(version=version).first()
    if found is None or found.status != VersionStatus.PUBLISHED:
        raise not_found(f"The plan {code!r} has no such published version.")
    return found


def newest_published(plan: Plan) -> PlanVersion | None:
    """What is for sale of a plan."""
    published = plan.versions.select_related("plan").filter(status=VersionStatus.PUBLISHED)
    return published.order_by("-version").first()


class Plans(Endpoint):
    """`/v1/plans`"""

    @operation(scope="read", query=PageQuery, returns=Page[PlanOut], summary="List plans")
    def get(self, request: Request, query: PageQuery) -> Page[PlanOut]:
        plans = Plan.objects.select_related("customer")
        return paginated(request, plans, to_json=plan_out, limit=query.limit, cursor=query.cursor)

    @operation(
        scope="manage", body=NewPlan, returns=PlanOut, status=201, problems={CodeTaken: 409}, summary="Create a plan"
    )
    def post(self, request: Request, body: NewPlan) -> Answer:
        customer = get_customer(body.customer) if body.customer else None
        now = timezone.now()
        if body.clone_of is None:
            plan = create_plan(code=body.code, name=body.name, customer=customer, now=now)
        else:
            original = get_published(body.clone_of, body.clone_version)
            plan = clone_plan(original, code=body.code, name=body.name, customer=customer, now=now)
        return Answer(plan_out(plan), location=f"/v1/plans/{plan.code}")


class OnePlan(Endpoint):
    """`/v1/plans/{code}`"""

    @operation(scope="read", returns=PlanOut, summary="Read a plan")
    def get(self, request: Request, code: str) -> PlanOut:
        return plan_out(get_plan(code))


class PlanVersions(Endpoint):
    """`/v1/plans/{code}/versions`"""

    @operation(scope="read", query=PageQuery, returns=Page[PlanVersionOut], summary="List a plan's versions")
    def get(self, request: Request, code: str, query: PageQuery) -> Page[PlanVersionOut]:
        versions = get_plan(code).versions.select_related("plan")
        return paginated(request, versions, to_json=plan_version_out, limit=query.limit, cursor=query.cursor)

    @operation(
        scope="manage",
        body=dict[str, Any],
        returns=PlanVersionOut,
        status=201,
        problems={InvalidTerms: 400},
        summary="Draft a version of a plan",
        description="The body is the terms. Every mistake in them is named with its place.",
    )
    def post(self, request: Request, code: str, body: dict[str, Any]) -> Answer:
        version = draft_plan_version(get_plan(code), raw_terms=body, now=timezone.now())
        return Answer(plan_version_out(version), location=f"/v1/plans/{code}/versions/{version.version}")


class OnePlanVersion(Endpoint):
    """`/v1/plans/{code}/versions/{version}`"""

    @operation(scope="read", returns=PlanVersionOut, summary="Read a version of a plan")
    def get(self, request: Request, code: str, version: int) -> PlanVersionOut:
        return plan_version_out(get_plan_version(code, version))


class PublishedPlanVersion(Endpoint):
    """`/v1/plans/{code}/versions/{version}/publish`"""

    @operation(
        scope="manage",
        returns=PlanVersionOut,
        problems={AlreadyPublished: 409, InvalidTerms: 400},
        summary="Publish a version of a plan",
    )
    def post(self, request: Request, code: str, version: int) -> PlanVersionOut:
        return plan_version_out(publish_plan_version(get_plan_version(code, version), now=timezone.now()))
