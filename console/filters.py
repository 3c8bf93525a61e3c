"""Which rows of a list does an operator look for? Those in a state, which seldom is a column; under short names."""

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

from django.contrib.admin import SimpleListFilter
from django.db.models import Choices, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone

Conditions = Callable[[dt.datetime], Mapping[str, Q]]
"""What has to hold of a row to be in each state, at an instant."""
NOTHING = Q(pk__in=[])


def by_value(lookup: str, choices: type[Choices], *, of: str) -> type[SimpleListFilter]:
    """A filter by the values of a column, for people who know them: its labels are whole sentences."""
    values = {str(value): Q(**{lookup: value}) for value in choices.values}
    return by_state(lambda now: values, of=of)


def by_state(conditions: Conditions, *, of: str = "state") -> type[SimpleListFilter]:
    """A filter by these states under the name `of`; a state that there is not has no rows."""

    class ByState(SimpleListFilter):
        title, parameter_name = of, of.replace(" ", "_")

        def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
            return [(name, name) for name in conditions(timezone.now())]

        def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
            wanted = self.value()
            return queryset if wanted is None else queryset.filter(conditions(timezone.now()).get(wanted, NOTHING))

    return ByState
