"""Probes: alive whatever happens around, ready when the database answers and has our tables."""

import pytest
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client

from api import health
from api.problems import Problem
from tests.api.test_endpoints import problem


@pytest.fixture(autouse=True)
def not_looked_yet():
    health._looked = None
    yield
    health._looked = None


@pytest.fixture
def unreachable(db):
    """A database that is nowhere, for connections opened from now on; to be called when it is found again."""
    host = connection.settings_dict["HOST"]
    connection.settings_dict["HOST"] = "/nowhere"
    yield lambda: connection.settings_dict.update(HOST=host)
    connection.settings_dict["HOST"] = host


def test_a_process_that_answers_is_alive(client, django_assert_num_queries):
    answer = client.get("/livez")
    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})


@pytest.mark.django_db
def test_with_a_database_that_answers_and_is_migrated_it_is_ready(client):
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready"})
    assert answer["Cache-Control"] == "no-store"


def test_without_a_database_it_is_alive_and_not_ready(client, unreachable):
    refused = problem(client.get("/readyz"), 503)
    assert refused["detail"] == "The database does not answer."
    assert client.get("/livez").status_code == 200


@pytest.mark.django_db(transaction=True)
def test_without_the_last_migration_it_is_not_ready(client):
    last = MigrationRecorder.Migration.objects.filter(app="api").latest("id")
    last.delete()
    try:
        answer = client.get("/readyz")
        assert answer["Retry-After"] == "2"
        assert problem(answer, 503)["detail"] == "The database is not migrated to this version."
    finally:
        last.save()


@pytest.mark.django_db
def test_the_database_is_asked_once_a_second_however_often_we_are(unreachable):
    with pytest.raises(Problem):
        health.readiness(100.0)
    found_again = unreachable
    found_again()
    with pytest.raises(Problem):
        health.readiness(100.9)
    assert health.readiness(101.0)


def test_probes_come_from_addresses_and_without_encryption(settings):
    settings.ALLOWED_HOSTS, settings.SECURE_SSL_REDIRECT = ["parley.test"], True
    assert Client().get("/livez", headers={"host": "10.0.0.7:8000"}).status_code == 200
