"""What every endpoint does before and after its own few lines."""

import gzip
import random
import zlib

import pytest

from api import keys
from api.models import ApiKey
from tests.rest import LONG_AGO

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.api.tiny")]


def problem(answer, status):
    assert answer.status_code == status
    assert answer["Content-Type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    assert body["type"].startswith("/problems/")
    assert body["title"]
    return body


# --- who may ---


def test_without_a_key_the_answer_is_401_with_a_challenge(stranger):
    answer = stranger.get("/v1/things")
    problem(answer, 401)
    assert answer["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "header", ["Basic abc", "Bearer", "Bearer nonsense", "Bearer pk_0000000000000000_" + "0" * 64, ""]
)
def test_with_a_key_that_is_none_the_answer_is_401(stranger, header):
    problem(stranger.get("/v1/things", authorization=header), 401)


def test_without_the_scope_the_answer_is_403_naming_it(caller):
    assert "manage" in problem(caller("read", "ingest").post("/v1/things", {"name": "x"}), 403)["detail"]
    assert not ApiKey.objects.filter(name="x").exists()


def test_a_refused_scope_is_told_before_anything_about_the_body(caller):
    problem(caller("read").post("/v1/things", b"{", content_type="text/plain"), 403)


@pytest.mark.parametrize("name", ["api_key", "key"])
def test_a_key_in_the_url_is_refused_even_beside_a_valid_header(caller, name):
    assert problem(caller().get(f"/v1/things?{name}=pk_1_2"), 400)["errors"][0]["pointer"] == f"?{name}"


def test_a_key_revoked_a_second_ago_is_refused(caller, time_machine):
    someone = caller("read")
    time_machine.move_to("2026-11-20T12:00:00Z", tick=False)
    assert someone.get("/v1/things").status_code == 200
    ApiKey.objects.update(revoked_at=LONG_AGO)
    time_machine.shift(1)
    problem(someone.get("/v1/things"), 401)


def test_an_operation_without_scope_is_open_to_all_but_not_to_wrong_keys(stranger):
    assert stranger.get("/v1/open").json() == {"hello": 1}
    problem(stranger.get("/v1/open", authorization="Bearer nonsense"), 401)


# --- what comes in ---


def test_a_body_is_read_and_the_answer_says_where_the_thing_is(caller):
    answer = caller().post("/v1/things", {"name": "acme", "price": "0.000000010"})
    assert answer.status_code == 201
    body = answer.json()
    assert answer["Location"] == f"/v1/things/{body['id']}"
    assert body["price"] == "0.000000010"
    assert body["created_at"] == "2026-11-20T12:00:00Z"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": "acme", "is_staff": True}, "/is_staff"),
        ({"name": 1}, "/name"),
        ({"name": ""}, "/name"),
        ({}, "/name"),
        ({"name": "acme", "price": 0.1}, "/price"),
        (b'{"name":"a","name":"b"}', "/name"),
        (b'{"name":"\\u0000"}', "/name"),
        (b"[]", ""),
        (b"\xff", ""),
    ],
)
def test_a_body_that_is_not_as_declared_is_400_with_a_pointer(caller, body, pointer):
    assert problem(caller().post("/v1/things", body), 400)["errors"][0]["pointer"] == pointer
    assert not ApiKey.objects.filter(scopes=[]).exists()


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "", "application/json; charset=latin-1",
                     "application/jsonx"]
)  # fmt: skip
def test_another_content_type_is_415(caller, content_type):
    problem(caller().post("/v1/things", {"name": "acme"}, content_type=content_type), 415)


def test_a_charset_of_utf8_is_fine(caller):
    answer = caller().post("/v1/things", {"name": "acme"}, content_type='application/json; charset="UTF-8"')
    assert answer.status_code == 201


def test_a_body_of_more_than_a_mebibyte_is_413(caller):
    problem(caller().post("/v1/raw", b"x" * (1024 * 1024 + 1)), 413)
    assert caller().post("/v1/raw", b"x" * 1024 * 1024).content == b"1048576"


def test_gzip_is_unpacked(caller):
    assert caller().post_gzip("/v1/things", b'{"name": "acme"}').status_code == 201


def test_a_bomb_is_413_by_its_ratio_and_by_its_size(caller):
    problem(caller().post_gzip("/v1/raw", b"\0" * 200_000), 413)
    barely_packed = random.Random(1).randbytes(200_000) + b"\0" * 9 * 1024 * 1024
    packed = gzip.compress(barely_packed)
    assert len(packed) * 100 > len(barely_packed)
    problem(caller().post("/v1/raw", packed, content_encoding="gzip"), 413)


@pytest.mark.parametrize(
    "packed",
    [b"", b"nonsense", gzip.compress(b"{}", mtime=0)[:-4], gzip.compress(b"{}", mtime=0) * 2, zlib.compress(b"{}")],
)
def test_broken_gzip_is_400(caller, packed):
    problem(caller().post("/v1/raw", packed, content_encoding="gzip"), 400)


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "zstd"])
def test_other_encodings_are_415(caller, encoding):
    problem(caller().post("/v1/raw", b"{}", content_encoding=encoding), 415)


def test_a_body_of_unknown_length_is_refused_rather_than_read_as_empty(caller):
    request = caller()
    answer = request.client.generic("POST", "/v1/raw", b"", headers=request.headers | {"transfer-encoding": "chunked"})
    problem(answer, 411)


def test_an_operation_without_body_accepts_none_or_an_empty_object(caller):
    assert caller().delete("/v1/things/acme").status_code == 204
    assert caller().delete("/v1/things/acme", b"{}").status_code == 204
    problem(caller().delete("/v1/things/acme", b'{"force":true}'), 400)


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("limit=0", "?limit"),
        ("limit=1001", "?limit"),
        ("limit=1.0", "?limit"),
        ("limit=1e2", "?limit"),
        ("limit=%207", "?limit"),
        ("limit=%EF%BC%97", "?limit"),
        ("limit=", "?limit"),
        ("limit=1&limit=2", "?limit"),
        ("limit=" + "9" * 30, "?limit"),
        ("live=1", "?live"),
        ("ordering=password", "?ordering"),
        ("name=a%00", "?name"),
        ("cursor=%2B%2B", "?cursor"),
        ("cursor=W10", "?cursor"),
        ("cursor=WyJ4Il0", "?cursor"),
    ],
)
def test_a_query_that_is_not_as_declared_is_400_naming_the_parameter(caller, query, pointer):
    assert problem(caller().get(f"/v1/things?{query}"), 400)["errors"][0]["pointer"] == pointer


def test_a_query_that_is_no_text_or_endless_is_400(caller):
    problem(caller().get("/v1/things?name=%ff"), 400)
    problem(caller().get("/v1/things?" + "&".join(f"a{i}=1" for i in range(100))), 400)


def test_a_query_nobody_declared_is_400(caller):
    assert problem(caller().get("/v1/things/acme?verbose=1"), 400)["errors"][0]["pointer"] == "?verbose"


def test_a_query_is_read_into_its_types(caller):
    assert len(caller().get("/v1/things?limit=7&live=true&name=Acme").json()["data"]) == 1


# --- what goes out ---


def test_what_a_key_may_see_is_not_cached_and_not_sniffed(caller):
    answer = caller().get("/v1/things")
    assert answer["Cache-Control"] == "no-store"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Content-Type"] == "application/json"


def test_the_accept_header_never_matters(caller):
    assert caller().get("/v1/things", accept="text/html").status_code == 200
    problem(caller().get("/v1/nowhere", accept="text/html"), 404)


def test_a_named_exception_becomes_the_declared_problem_and_nothing_is_written(caller):
    body = problem(caller().post("/v1/things", {"name": "taken"}), 409)
    assert body["detail"] == "That name is taken."
    assert body["errors"] == [{"pointer": "/name", "detail": "taken"}]
    assert not ApiKey.objects.filter(name="taken").exists()


def test_options_and_head_answer_without_a_body(caller):
    assert caller().client.options("/v1/things").status_code == 200
    head = caller().client.head("/v1/open")
    assert (head.status_code, head.content) == (200, b"")


def test_a_method_the_url_does_not_know_is_405_naming_those_it_does(caller):
    answer = caller().delete("/v1/things")
    problem(answer, 405)
    assert set(answer["Allow"].split(", ")) >= {"GET", "POST"}


def test_a_key_made_for_one_customer_says_so(db):
    key, plain = keys.create_key("Cleo's own backend", ["ingest"], customer_key="cleo", now=LONG_AGO)
    assert keys.find_key(plain, now=LONG_AGO).customer_key == "cleo"


def test_a_key_made_for_one_customer_may_do_nothing_but_report(db):
    with pytest.raises(keys.TooMuchForOneCustomer):
        keys.create_key("Cleo's window", ["ingest", "read"], customer_key="cleo", now=LONG_AGO)
