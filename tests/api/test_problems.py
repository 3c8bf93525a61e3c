"""Every failure has one shape, and the unexpected tells nothing but an id."""

import psycopg
import pytest
from django.db import DataError, InterfaceError, OperationalError
from django.http import Http404
from rest_framework.exceptions import Throttled

from api import problems
from api.models import ApiKey
from api.problems import Problem, answer_exception

from .test_endpoints import problem

pytestmark = pytest.mark.urls("tests.api.tiny")


def test_a_problem_answers_with_its_type_title_status_and_places():
    refused = Problem(409, "overlap", "Overlaps", "Two at once.", errors=[("/starts_at", "before the other ends")])
    answer = answer_exception(refused, {})
    assert answer.status_code == 409
    assert refused.to_json() == {
        "type": "/problems/overlap",
        "title": "Overlaps",
        "status": 409,
        "detail": "Two at once.",
        "errors": [{"pointer": "/starts_at", "detail": "before the other ends"}],
    }


@pytest.mark.parametrize(
    ("make", "status"),
    [
        (problems.bad_request, 400),
        (problems.unauthenticated, 401),
        (problems.forbidden, 403),
        (problems.not_found, 404),
        (problems.conflict, 409),
        (problems.too_large, 413),
        (problems.unsupported_media_type, 415),
        (problems.unavailable, 503),
    ],
)
def test_every_kind_of_problem_has_its_status(make, status):
    assert answer_exception(make("why"), {}).status_code == status


def test_a_caller_who_is_too_fast_is_told_whole_seconds_to_wait():
    answer = answer_exception(problems.too_many_requests("Slower.", retry_after_s=0.2), {})
    assert (answer.status_code, answer["Retry-After"]) == (429, "1")


@pytest.mark.parametrize(
    "lost", [OperationalError("10.0.0.1"), InterfaceError("closed"), psycopg.OperationalError("10.0.0.1")]
)
def test_without_a_database_the_answer_is_503_with_a_time_to_retry(lost):
    answer = answer_exception(lost, {})
    assert answer.status_code == 503
    assert int(answer["Retry-After"]) >= 1
    assert b"10.0.0.1" not in answer.content


@pytest.mark.parametrize(("error", "status"), [(Http404(), 404), (DataError("too long"), 400), (Throttled(), 429)])
def test_exceptions_of_the_frameworks_are_problems_too(error, status):
    assert answer_exception(error, {}).status_code == status


def test_a_database_lost_under_a_view_is_503(caller, db):
    problem(caller().post("/v1/things", {"name": "down"}), 503)
    assert not ApiKey.objects.filter(name="down").exists()


def test_the_unexpected_tells_an_id_and_logs_the_rest(caller, db, caplog):
    body = problem(caller().post("/v1/things", {"name": "boom"}), 500)
    assert set(body) == {"type", "title", "status", "request_id"}
    [record] = [record for record in caplog.records if record.name == "api.problems"]
    assert body["request_id"] in record.getMessage()
    assert "secret of the house" in str(record.exc_info[1])


def test_an_unexpected_failure_outside_an_endpoint_tells_no_more(stranger, caplog):
    body = problem(stranger.get("/v1/broken"), 500)
    assert set(body) == {"type", "title", "status", "request_id"}


def test_pages_for_people_keep_their_html(stranger):
    assert stranger.get("/page/broken")["Content-Type"].startswith("text/html")
    assert stranger.get("/nowhere")["Content-Type"].startswith("text/html")


@pytest.mark.parametrize("url", ["/v1/nowhere", "/v1/things/", "/v1/things/a%00b/c"])
def test_a_url_that_leads_nowhere_is_a_problem(stranger, url):
    problem(stranger.get(url), 404)


def test_a_nul_in_a_url_is_404_and_never_reaches_the_database(caller, db):
    problem(caller().get("/v1/things/a%00b"), 404)


def test_an_unknown_host_is_a_problem(stranger, settings):
    settings.ALLOWED_HOSTS = ["parley.test"]
    problem(stranger.get("/v1/openapi.json", host="evil.test"), 400)
