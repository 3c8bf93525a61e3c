"""How is a long list read? Page by page, each named by a cursor: the place of the last row, not a count of rows.

Rows that are added or removed meanwhile are therefore neither repeated nor skipped. The order is a tuple of columns of
which the last makes it unique; an index on exactly these columns (after those filtered by) serves every page alike.
They are columns of the rows, or of one row that each refers to ("settled__id").
"""

import base64
from collections.abc import Callable
from datetime import date
from functools import reduce
from typing import Annotated, Any, Generic, TypeVar, cast
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from django.db import models
from django.db.models import F, Model, QuerySet
from django.db.models.fields.tuple_lookups import Tuple, TupleGreaterThan, TupleLessThan
from msgspec import Meta
from rest_framework.request import Request

from api.problems import bad_request
from api.strict_json import BadJson, Body, Instant, decode

T = TypeVar("T")
Row = TypeVar("Row", bound=Model)

DEFAULT_LIMIT = 100
Limit = Annotated[int, Meta(ge=1, le=1000, description="rows on a page")]
Cursor = Annotated[str, Meta(max_length=2000, description="where a page starts; taken from `next`")]

_BigInt = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_TYPES: "tuple[tuple[type[models.Field[Any, Any]], Any], ...]" = (
    (models.UUIDField, UUID),
    (models.DateTimeField, Instant),
    (models.DateField, date),
    (models.IntegerField, _BigInt),
    (models.CharField, str),
    (models.TextField, str),
)


class PageQuery(Body):
    """The query of a list; derive the filters of a list from this."""

    limit: Limit = DEFAULT_LIMIT
    cursor: Cursor | None = None


class Page(msgspec.Struct, Generic[T]):
    """One page of a list; `next` is the URL of the page after it."""

    data: list[T]
    next: str | None


def paginated(
    request: Request,
    rows: QuerySet[Row],
    *,
    to_json: Callable[[Row], T],
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
    order: tuple[str, ...] = ("id",),
    newest_first: bool = True,
) -> Page[T]:
    """The page of `rows` that begins at `cursor`, newest first by the columns `order` (not null, unique together).

    Raises Problem 400 for a cursor that is none. Whatever order `rows` had is replaced.
    """
    if cursor is not None:
        rows = _beyond(rows, order, _read_cursor(cursor, rows.model, order), newest_first)
    sign = "-" if newest_first else ""
    found = list(rows.order_by(*(sign + name for name in order))[: limit + 1])
    page = found[:limit]
    following = _url_after(request, _write_cursor(page[-1], order)) if len(found) > limit else None
    return Page([to_json(row) for row in page], following)


def _beyond(rows: QuerySet[Row], order: tuple[str, ...], place: list[Any], newest_first: bool) -> QuerySet[Row]:
    if len(order) == 1:
        return rows.filter(**{f"{order[0]}__{'lt' if newest_first else 'gt'}": place[0]})
    comparison = TupleLessThan if newest_first else TupleGreaterThan
    return rows.filter(comparison(Tuple(*map(F, order)), place))


def _write_cursor(row: Model, order: tuple[str, ...]) -> str:
    place = msgspec.json.encode([reduce(getattr, name.split("__"), row) for name in order])
    return base64.urlsafe_b64encode(place).decode().rstrip("=")


def _read_cursor(cursor: str, model: type[Model], order: tuple[str, ...]) -> list[Any]:
    wanted: Any = tuple.__class_getitem__(tuple(_type_of(model, name) for name in order))
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        return [*decode(text, wanted)]
    except (BadJson, ValueError) as error:
        raise bad_request("The cursor cannot be read.", errors=[("?cursor", "not from a `next`")]) from error


def _type_of(model: type[Model], name: str) -> Any:
    *through, last = name.split("__")
    for relation in through:
        model = cast(type[Model], model._meta.get_field(relation).related_model)
    column = model._meta.get_field(last)
    if isinstance(column, models.ForeignKey):
        column = column.target_field
    return next(wanted for kind, wanted in _TYPES if isinstance(column, kind))


def _url_after(request: Request, cursor: str) -> str:
    query = request.query_params.copy()
    query["cursor"] = cursor
    return request.build_absolute_uri(f"{request.path}?{urlencode(list(query.items()))}")
