"""A row that was asked for becomes what the ORM would have made of it."""

import datetime as dt

import pytest

from api.asking import Question, ask, columns, instance
from api.models import ApiKey


@pytest.mark.django_db
def test_a_row_becomes_an_instance() -> None:
    made = ApiKey.objects.create(
        lookup_id="0" * 16,
        name="Acme",
        scopes=["read"],
        secret_sha256=b"\0" * 32,
        created_at=dt.datetime(2026, 11, 20, 10, 0, 0, 123456, tzinfo=dt.UTC),
    )
    key = Question(f"SELECT {columns(ApiKey, 'k')} FROM api_apikey k WHERE lookup_id = %(lookup_id)s")
    (row,) = ask(key, {"lookup_id": made.lookup_id})
    read = instance(ApiKey, row)
    assert read == made and not read._state.adding
    assert (read.name, read.scopes, read.created_at) == (made.name, made.scopes, made.created_at)
