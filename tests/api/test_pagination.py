"""Pages together are the list, whatever happens to it meanwhile."""

from datetime import timedelta

import pytest
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from api.ids import uuid7s
from api.models import ApiKey
from api.pagination import paginated
from api.problems import Problem
from tests.rest import LONG_AGO

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.api.tiny")]


def keep(count, start=0, same_time=False):
    ApiKey.objects.bulk_create(
        ApiKey(
            id=made,
            name=f"n{start + i}",
            lookup_id=str(start + i),
            secret_sha256=b"",
            scopes=[],
            created_at=LONG_AGO + timedelta(seconds=0 if same_time else (start + i) // 3),
        )
        for i, made in enumerate(uuid7s(count))
    )


def names(someone, url):
    """All names over all pages, and how many pages there were."""
    found, pages = [], 0
    while url:
        page = someone.get(url).json()
        found += [each["name"] for each in page["data"]]
        url, pages = page["next"], pages + 1
    return found, pages


def test_pages_together_are_the_whole_list_newest_first(caller):
    keep(25)
    found, pages = names(caller(), "/v1/things?limit=10&name=n")
    assert found == [f"n{i}" for i in reversed(range(25))]
    assert pages == 3


def test_a_list_that_fits_has_no_next_page_and_an_empty_one_has_no_data(caller):
    keep(10)
    assert names(caller(), "/v1/things?limit=10&name=n")[1] == 1
    assert caller().get("/v1/things?name=nobody").json() == {"data": [], "next": None}


def test_the_next_url_keeps_the_filters_and_is_absolute(caller):
    keep(3)
    following = caller().get("/v1/things?limit=2&name=n").json()["next"]
    assert following.startswith("http://testserver/v1/things?")
    assert "limit=2" in following
    assert "name=n" in following


def test_rows_added_or_removed_between_pages_neither_repeat_nor_skip_others(caller):
    keep(20)
    someone = caller()
    first = someone.get("/v1/things?limit=5&name=n").json()
    keep(7, start=100)
    ApiKey.objects.filter(name__in=["n19", "n15"]).delete()
    rest, _ = names(someone, first["next"])
    assert [each["name"] for each in first["data"]] + rest == [f"n{i}" for i in reversed(range(20))]


def page_of(order, cursor=None, **options):
    request = Request(APIRequestFactory().get("/v1/things"))
    return paginated(request, ApiKey.objects.all(), to_json=lambda row: row.name, cursor=cursor, order=order, **options)


@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize("same_time", [True, False])
def test_an_order_of_two_columns_is_complete_even_with_equal_times(newest_first, same_time):
    keep(20, same_time=same_time)
    found, cursor = [], None
    while cursor != "":
        page = page_of(("created_at", "id"), cursor, limit=3, newest_first=newest_first)
        found += page.data
        cursor = page.next.split("cursor=")[1] if page.next else ""
    expected = [f"n{i}" for i in range(20)]
    assert found == (expected[::-1] if newest_first else expected)


def test_two_columns_are_compared_as_one_row(django_assert_num_queries):
    keep(4)
    cursor = page_of(("created_at", "id"), limit=2).next.split("cursor=")[1]
    with django_assert_num_queries(1) as queries:
        page_of(("created_at", "id"), cursor)
    assert '("api_apikey"."created_at", "api_apikey"."id") < (' in queries.captured_queries[0]["sql"]


def test_a_cursor_of_another_list_is_refused():
    keep(3)
    cursor = page_of(("id",), limit=1).next.split("cursor=")[1]
    with pytest.raises(Problem, match="cursor"):
        page_of(("created_at", "id"), cursor)
