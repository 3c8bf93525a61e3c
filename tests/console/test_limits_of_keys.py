"""The desk sets how much a key may send, and nothing else of it."""

import pytest

from api.keys import CACHED_FOR, create_key, find_key
from api.models import ApiKey
from tests.rest import LONG_AGO


@pytest.fixture
def page(db) -> str:
    key, _ = create_key("Acme's backend", ["ingest"], now=LONG_AGO)
    return f"/admin/api/apikey/{key.pk}/change/"


def test_an_operator_sets_the_limits_of_a_key(desk, page):
    fields = {"events_per_s": "500", "events_burst": "", "requests_per_s": "50", "name": "x", "scopes": "manage"}
    assert desk.post(page, fields).status_code == 302
    key = ApiKey.objects.get()
    assert (key.events_per_s, key.events_burst, key.requests_per_s) == (500, None, 50)
    assert (key.name, key.scopes) == ("Acme's backend", ["ingest"])


@pytest.mark.parametrize("fields", [{"events_per_s": "0"}, {"events_burst": "5"}, {"requests_per_s": "-1"}])
def test_limits_without_sense_are_refused_with_a_sentence(desk, page, fields):
    answer = desk.post(page, fields)
    assert answer.status_code == 200
    assert b"errorlist" in answer.content
    assert ApiKey.objects.get().requests_per_s is None


def test_staff_without_permission_only_looks(looker, page):
    assert looker.get(page).status_code == 200
    assert looker.post(page, {"events_per_s": "5"}).status_code == 403
    assert ApiKey.objects.get().events_per_s is None


def test_a_new_limit_holds_within_a_second(desk, db):
    key, plain = create_key("Acme's backend", ["ingest"], now=LONG_AGO)
    assert find_key(plain, now=LONG_AGO).events_per_s is None
    desk.post(f"/admin/api/apikey/{key.pk}/change/", {"events_per_s": "5"})
    assert find_key(plain, now=LONG_AGO + CACHED_FOR).events_per_s == 5
