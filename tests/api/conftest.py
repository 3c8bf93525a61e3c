"""Who calls in these tests: a client with a key for the scopes a test names."""

import gzip
import json
from datetime import UTC, datetime

import pytest
from django.test import Client

from api import keys

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
ALL_SCOPES = ("ingest", "read", "manage", "backfill")


class Caller:
    """Sends what it is given, byte for byte, with its key."""

    def __init__(self, key: str | None) -> None:
        self.client = Client(raise_request_exception=False)
        self.headers = {} if key is None else {"authorization": f"Bearer {key}"}

    def get(self, url, **headers):
        return self.client.get(url, headers=self.headers | headers)

    def post(self, url, body, content_type="application/json", **headers):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post(url, data=data, content_type=content_type, headers=self.headers | named)

    def delete(self, url, body=b""):
        return self.client.delete(url, data=body, content_type="application/json", headers=self.headers)

    def post_gzip(self, url, body):
        return self.post(url, gzip.compress(body), content_encoding="gzip")


@pytest.fixture(autouse=True)
def no_remembered_keys():
    keys._cache.clear()


@pytest.fixture
def caller(db):
    """caller("read") is a client whose key has that scope; caller() has all of them."""

    def make(*scopes: str) -> Caller:
        return Caller(keys.create_key("Acme's backend", scopes or ALL_SCOPES, now=LONG_AGO)[1])

    return make


@pytest.fixture
def stranger():
    return Caller(None)
