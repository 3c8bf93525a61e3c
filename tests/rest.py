"""How tests speak to the REST API: a client with a key, which sends what it is given, byte for byte."""

import gzip
import json
from datetime import UTC, datetime

from django.test import Client

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

    def put(self, url, body):
        return self.client.put(url, json.dumps(body).encode(), content_type="application/json", headers=self.headers)

    def delete(self, url, body=b""):
        return self.client.delete(url, data=body, content_type="application/json", headers=self.headers)

    def post_gzip(self, url, body):
        return self.post(url, gzip.compress(body), content_encoding="gzip")

    def patch(self, url, body):
        return self.client.patch(
            url, data=json.dumps(body).encode(), content_type="application/json", headers=self.headers
        )
