"""`/v1/tier-schemes`: how conversations are put into tiers."""

import datetime as dt
import uuid
from typing import Annotated, Literal

import msgspec
from django.utils import timezone
from msgspec import Meta
from rest_framework.request import Request

from api.endpoints import Answer, Endpoint, operation
from api.pagination import Page, PageQuery, paginated
from api.problems import bad_request, not_found
from api.strict_json import Body, Instant
from plans.durations import InvalidDuration, format_duration, parse_duration
from plans.models import TierScheme, TierSchemeVersion, VersionStatus
from plans.publishing import (
    AlreadyPublished,
    CodeTaken,
    InvalidScheme,
    SchemeRules,
    create_scheme,
    draft_scheme_version,
    publish_scheme_version,
)

Code = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$(?!\n)", description="lower case, digits, - and _")]
Duration = Annotated[str, Meta(max_length=32, description="ISO 8601 duration such as PT24H")]
Limit = Annotated[int, Meta(ge=1, le=2_000_000_000)]


class TierIn(Body):
    """A tier; a conversation below both limits belongs to it, a limit left out does not bind."""

    code: Code
    max_turns: Limit | None = None
    max_tokens: Limit | None = None


class SchemeVersionIn(Body):
    """The rules of a version; tiers cheapest first, the last one without limits."""

    tiers: Annotated[list[TierIn], Meta(min_length=1, max_length=20)]
    idle_timeout: Duration = "PT24H"
    max_age: Duration = "PT72H"
    token_basis: Literal["processed", "fresh", "context"] = "processed"
    count_retries: bool = False


class SchemeIn(SchemeVersionIn, kw_only=True):
    """A new scheme, with the rules of its first version."""

    code: Code


class PublishScheme(Body):
    """When the version comes into force; left out, in five minutes."""

    effective_at: Instant | None = None


class TierOut(msgspec.Struct):
    """A tier."""

    code: str
    max_turns: int | None
    max_tokens: int | None


class SchemeVersionOut(msgspec.Struct):
    """A version of a tier scheme."""

    id: uuid.UUID
    code: str
    version: int
    status: str
    effective_at: dt.datetime | None
    idle_timeout: str
    max_age: str
    token_basis: str
    count_retries: bool
    tiers: list[TierOut]


def scheme_version_out(version: TierSchemeVersion) -> SchemeVersionOut:
    return SchemeVersionOut(
        id=version.id,
        code=version.scheme.code,
        version=version.version,
        status=version.status,
        effective_at=version.effective_at,
        idle_timeout=format_duration(version.idle_timeout),
        max_age=format_duration(version.max_age),
        token_basis=version.token_basis,
        count_retries=version.count_retries,
        tiers=[TierOut(tier.code, tier.max_turns, tier.max_tokens) for tier in version.tiers.all()],
    )


def _rules(body: SchemeVersionIn) -> SchemeRules:
    return SchemeRules(
        idle_timeout=_duration(body.idle_timeout, "/idle_timeout"),
        max_age=_duration(body.max_age, "/max_age"),
        token_basis=body.token_basis,
        count_retries=body.count_retries,
        tiers=[(tier.code, tier.max_turns, tier.max_tokens) for tier in body.tiers],
    )


def _duration(text: str, pointer: str) -> dt.timedelta:
    try:
        duration = parse_duration(text)
    except InvalidDuration as error:
        raise bad_request("A duration cannot be read.", errors=[(pointer, str(error))]) from error
    if duration > dt.timedelta(days=366):
        raise bad_request("A duration is too long.", errors=[(pointer, "at most 366 days")])
    return duration


def _scheme(code: str) -> TierScheme:
    try:
        return TierScheme.objects.get(code=code)
    except TierScheme.DoesNotExist as error:
        raise not_found(f"There is no tier scheme {code!r}.") from error


def _in_force(scheme: TierScheme) -> TierSchemeVersion:
    published = scheme.versions.filter(status=VersionStatus.PUBLISHED)
    return published.filter(effective_at__lte=timezone.now()).latest("effective_at")


class TierSchemes(Endpoint):
    """`/v1/tier-schemes`"""

    @operation(scope="read", query=PageQuery, returns=Page[SchemeVersionOut], summary="List tier schemes in force")
    def get(self, request: Request, query: PageQuery) -> Page[SchemeVersionOut]:
        return paginated(
            request,
            TierScheme.objects.all(),
            to_json=lambda scheme: scheme_version_out(_in_force(scheme)),
            limit=query.limit,
            cursor=query.cursor,
        )

    @operation(
        scope="manage",
        body=SchemeIn,
        returns=SchemeVersionOut,
        status=201,
        problems={CodeTaken: 409, InvalidScheme: 400},
        summary="Create a tier scheme",
        description="Its first version is published at once; later ones are drafts until published.",
    )
    def post(self, request: Request, body: SchemeIn) -> Answer:
        version = create_scheme(code=body.code, rules=_rules(body), now=timezone.now())
        return Answer(scheme_version_out(version), location=f"/v1/tier-schemes/{body.code}")


class OneTierScheme(Endpoint):
    """`/v1/tier-schemes/{code}`"""

    @operation(scope="read", returns=SchemeVersionOut, summary="Read the version of a tier scheme in force")
    def get(self, request: Request, code: str) -> SchemeVersionOut:
        return scheme_version_out(_in_force(_scheme(code)))


class TierSchemeVersions(Endpoint):
    """`/v1/tier-schemes/{code}/versions`"""

    @operation(scope="read", query=PageQuery, returns=Page[SchemeVersionOut], summary="List a scheme's versions")
    def get(self, request: Request, code: str, query: PageQuery) -> Page[SchemeVersionOut]:
        versions = _scheme(code).versions.select_related("scheme").prefetch_related("tiers")
        return paginated(request, versions, to_json=scheme_version_out, limit=query.limit, cursor=query.cursor)

    @operation(
        scope="manage",
        body=SchemeVersionIn,
        returns=SchemeVersionOut,
        status=201,
        problems={InvalidScheme: 400},
        summary="Draft a further version of a tier scheme",
    )
    def post(self, request: Request, code: str, body: SchemeVersionIn) -> SchemeVersionOut:
        return scheme_version_out(draft_scheme_version(_scheme(code), rules=_rules(body), now=timezone.now()))


class PublishedTierScheme(Endpoint):
    """`/v1/tier-schemes/{code}/versions/{version}/publish`"""

    @operation(
        scope="manage",
        body=PublishScheme,
        returns=SchemeVersionOut,
        problems={AlreadyPublished: 409, InvalidScheme: 400},
        summary="Publish a version of a tier scheme",
    )
    def post(self, request: Request, code: str, version: int, body: PublishScheme) -> SchemeVersionOut:
        found = _scheme(code).versions.filter(version=version).first()
        if found is None:
            raise not_found(f"The tier scheme {code!r} has no version {version}.")
        return scheme_version_out(publish_scheme_version(found, effective_at=body.effective_at, now=timezone.now()))
