"""With PARLEY_HTTPS=1, no door takes what came by plain HTTP."""

import json
import os
import subprocess
import sys

from tests.served.serving import ROOT

SCRIPT = """
import asyncio, json
from api.https import PROTO
from config.asgi import application
from config.event_protocol import whole_request

TWIN = PROTO.replace(b"-", b"_")

async def answered(path, *headers):
    sent = []
    async def receive():
        return {"type": "http.request", "body": b"{}", "more_body": False}
    async def send(message):
        sent.append(message)
    said = [(b"host", b"parley.example"), (b"content-type", b"application/json"), (b"content-length", b"2"), *headers]
    await application({
        "type": "http", "http_version": "1.1", "method": "POST", "scheme": "http", "path": path, "root_path": "",
        "raw_path": path.encode(), "query_string": b"", "headers": said, "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 9),
    }, receive, send)
    return sent[0]["status"]

def short_way(*headers):
    said = map(b": ".join, headers)
    lines = [b"POST /v1/events HTTP/1.1", b"host: parley.example", b"content-length: 2", *said, b"", b"{}"]
    return whole_request(b"\\r\\n".join(lines)) is not None

async def all_answers():
    both, twins = [(PROTO, b"http"), (PROTO, b"https")], [(TWIN, b"https"), (PROTO, b"http")]
    return [
        (await answered("/v1/events", *headers), await answered("/v1/customers", *headers), short_way(*headers))
        for headers in ((), twins, both, [(PROTO, b"https")])
    ]

print(json.dumps(asyncio.run(all_answers())))
"""
SECRET = "only-for-this-test-0123456789-abcdefghijklmnopqrstuvwxyz-ABCDEF"


def answers(https: str) -> list[list[object]]:
    """Of the event door, another URL, and the short way; without the proxy's header and with some."""
    said = {"PARLEY_HTTPS": https, "PARLEY_SECRET_KEY": SECRET, "PARLEY_ALLOWED_HOSTS": "parley.example"}
    script = [sys.executable, "-c", SCRIPT]
    run = subprocess.run(script, cwd=ROOT, env=os.environ | said, capture_output=True, text=True, check=True)
    found: list[list[object]] = json.loads(run.stdout)
    return found


def test_what_came_by_plain_http_is_sent_to_https_by_every_door() -> None:
    assert answers("1") == [[301, 301, False]] * 3 + [[401, 401, True]]


def test_without_a_proxy_nothing_is_redirected() -> None:
    assert answers("") == [[401, 401, True], [401, 401, True], [401, 401, False], [401, 401, True]]
