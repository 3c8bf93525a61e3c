"""The API describes itself, completely and in terms that resolve."""

import re

import pytest

from api.models import SCOPES

pytestmark = pytest.mark.urls("tests.api.tiny")


@pytest.fixture
def document(stranger):
    answer = stranger.get("/v1/openapi.json")
    assert answer.status_code == 200
    return answer.json()


def operations(document):
    return [(path, method, each) for path, methods in document["paths"].items() for method, each in methods.items()]


def references(part):
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            yield from references(each)


def check_structure(document):
    """What every OpenAPI 3.1 document must hold, as far as ours uses it."""
    assert document["openapi"].startswith("3.1.")
    assert document["info"].keys() >= {"title", "version"}
    for reference in references(document):
        place = document
        for step in reference.removeprefix("#/").split("/"):
            place = place[step.replace("~1", "/").replace("~0", "~")]
    ids = [each["operationId"] for _, _, each in operations(document)]
    assert len(ids) == len(set(ids))
    for path, _, each in operations(document):
        assert each["responses"]
        assert all(answer.get("description") or answer.get("$ref") for answer in each["responses"].values())
        in_path = {parameter["name"] for parameter in each["parameters"] if parameter.get("in") == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", path))


def test_every_reference_resolves_and_every_operation_has_answers(document):
    check_structure(document)
    things = {"/v1/things", "/v1/things/{name}", "/v1/things-by-themselves"}
    assert set(document["paths"]) == things | {"/v1/raw", "/v1/open"}


@pytest.mark.urls("config.urls")
def test_the_real_document_is_sound_too(document):
    check_structure(document)


def test_scopes_bodies_queries_and_answers_are_told(document):
    listing, making = document["paths"]["/v1/things"]["get"], document["paths"]["/v1/things"]["post"]
    assert "`read`" in listing["description"]
    assert {each["name"] for each in listing["parameters"]} == {"limit", "cursor", "name", "live"}
    assert making["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/NewThing")
    assert "201" in making["responses"]
    assert {"400", "401", "403", "409"} <= set(making["responses"])


def test_unknown_fields_are_ruled_out_in_the_schema_as_well(document):
    assert document["components"]["schemas"]["NewThing"]["additionalProperties"] is False


def test_posts_that_can_be_repeated_say_so(document):
    repeatable = {"$ref": "#/components/parameters/IdempotencyKey"}
    assert repeatable in document["paths"]["/v1/things"]["post"]["parameters"]
    assert repeatable not in document["paths"]["/v1/raw"]["post"]["parameters"]


def test_every_operation_needs_a_key_unless_it_says_otherwise(document):
    for path, _, each in operations(document):
        assert each["security"] == ([] if path == "/v1/open" else [{"apiKey": []}])
        assert path == "/v1/open" or any(f"`{scope}`" in each["description"] for scope in SCOPES)


def test_the_page_to_browse_loads_only_our_own_files(stranger):
    answer = stranger.get("/v1/docs")
    page = answer.content.decode()
    links = re.findall(r'(?:src|href|data-document)="([^"]+)"', page)
    assert links
    assert all(link.startswith("/") and not link.startswith("//") for link in links)
    assert "<script>" not in page
    assert "script-src 'self'" in answer["Content-Security-Policy"]
    for link in links:
        answer = stranger.get(link)
        assert answer.status_code == 200
        answer.close()
