"""Is a column of a row that may not be there never taken for the column that leads to it?"""

import pytest

from metering.models import Conversation
from tests.cast import acme, at, report, send, settled

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def one_settled_one_open() -> None:
    acme()
    send([report("e1", 0, conversation="settled"), report("e2", 5, conversation="open")])
    assert settled(24) == 1


@pytest.mark.parametrize(
    "asked",
    [
        {"settled__settled_at__gte": at(0)},
        {"settled__settled_at__lt": at(99)},
        {"settled__id__isnull": False},
        {"settled__isnull": False},
        {"settled__tier": "simple"},
    ],
    ids=str,
)
def test_whoever_asks_for_a_column_of_it_asks_that_it_is_there(asked: dict[str, object]) -> None:
    assert [row.reference for row in Conversation.objects.filter(**asked)] == ["settled"]
    assert [row.reference for row in Conversation.objects.exclude(**asked)] == ["open"]


def test_what_is_not_there_is_none_with_the_row_or_when_it_is_asked_for() -> None:
    for rows in (Conversation.objects.all(), Conversation.objects.select_related("settled")):
        assert {row.reference: row.settled and row.settled.tier for row in rows} == {"settled": "simple", "open": None}


def test_a_list_by_columns_of_it_is_read_along_its_index() -> None:
    rows = Conversation.objects.filter(settled__settled_at__gte=at(0)).order_by("settled__settled_at", "settled__id")
    assert '"metering_settledconversation"."settled_at" >=' in str(rows.query)
    assert 'ORDER BY "metering_settledconversation"."settled_at"' in str(rows.query)
