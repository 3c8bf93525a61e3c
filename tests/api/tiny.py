"""A URLconf with a few endpoints as higher floors write them; the things they keep are API keys."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated
from uuid import UUID

import msgspec
from django.db import OperationalError
from django.http import HttpResponse
from django.urls import include, path
from msgspec import Meta

from api.endpoints import Answer, Endpoint, operation, read_body
from api.models import ApiKey
from api.pagination import Page, PageQuery, paginated
from api.strict_json import Body, Price

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)

handler400 = "api.problems.handler400"
handler403 = "api.problems.handler403"
handler404 = "api.problems.handler404"
handler500 = "api.problems.handler500"


class ThingFilter(PageQuery):
    name: str | None = None
    live: bool | None = None


class NewThing(Body):
    name: Annotated[str, Meta(min_length=1)]
    price: Price = "0"


class Thing(msgspec.Struct):
    id: UUID
    name: str
    price: Decimal
    created_at: datetime


class NameTaken(Exception):
    errors = [("/name", "taken")]


def to_thing(row: ApiKey, price: str = "0") -> Thing:
    return Thing(row.id, row.name, Decimal(price), row.created_at)


class Things(Endpoint):
    """Things."""

    @operation(scope="read", query=ThingFilter, returns=Page[Thing], summary="List things")
    def get(self, request, query):
        rows = ApiKey.objects.filter(name__startswith=query.name or "")
        return paginated(request, rows, to_json=to_thing, limit=query.limit, cursor=query.cursor)

    @operation(
        scope="manage", body=NewThing, returns=Thing, status=201, summary="Make a thing", problems={NameTaken: 409}
    )
    def post(self, request, body):
        row = ApiKey.objects.create(
            name=body.name, lookup_id=body.name[:16], secret_sha256=b"", scopes=[], created_at=NOON
        )
        if body.name == "taken":
            raise NameTaken("That name is taken.")
        if body.name == "boom":
            raise RuntimeError("secret of the house")
        if body.name == "down":
            raise OperationalError("connection to server at 10.0.0.1 failed")
        return Answer(to_thing(row, body.price), location=f"/v1/things/{row.id}")


class ThingsByThemselves(Endpoint):
    @operation(scope="manage", body=NewThing, returns=Thing, atomic=False, summary="Try", problems={NameTaken: 409})
    def post(self, request, body):
        raise NameTaken("That name is taken.")


class OneThing(Endpoint):
    @operation(scope="read", returns=Thing, summary="Show a thing")
    def get(self, request, name):
        return to_thing(ApiKey.objects.get(name=name))

    @operation(scope="manage", status=204, summary="Drop a thing")
    def delete(self, request, name):
        ApiKey.objects.filter(name=name).delete()


class Raw(Endpoint):
    @operation(scope="ingest", summary="Count bytes", reads_body=False, idempotent=False)
    def post(self, request):
        return HttpResponse(str(len(read_body(request))), content_type="text/plain")


class Open(Endpoint):
    @operation(scope=None, returns=dict[str, int], summary="Say hello")
    def get(self, request):
        return {"hello": 1}


def broken(request):
    raise RuntimeError("secret of the house")


urlpatterns = [
    path("v1/", include("api.urls")),
    path("v1/things", Things.as_view()),
    path("v1/things-by-themselves", ThingsByThemselves.as_view()),
    path("v1/things/<str:name>", OneThing.as_view()),
    path("v1/raw", Raw.as_view()),
    path("v1/open", Open.as_view()),
    path("v1/broken", broken),
    path("page/broken", broken),
]
