"""How long does a customer with a million conversations this month wait for its running bill and its entitlement?"""

import datetime as dt
import http.client
import time
from pathlib import Path

from django.db import connection

from benchmarks.customers import create_conversations, create_customers
from benchmarks.machine import rounds
from benchmarks.served import OURS, web

CONVERSATIONS = 1_000_000
ROUNDS = 3
MONTH = dt.timedelta(days=30)
"""Nearly over. What began on its last day, idle for less than one, is still open: every thirtieth conversation."""
PATHS = {
    "running usage": "/v1/customers/large-000001/usage",
    "entitlement": "/v1/customers/large-000001/entitlement?tier=simple",
    "entitlement, all tiers": "/v1/customers/large-000001/entitlement",
}


def measure_reads(data_dir: Path, *, quick: bool, now: dt.datetime) -> dict[str, float]:
    """Milliseconds within which 99 of 100 requests are answered, one after the other, in the best of some rounds.

    Django must be set up.
    """
    from api.keys import create_key
    from metering.settling import settle
    from metering.watching import count_watched_ahead

    conversations, reads = (50_000, 200) if quick else (CONVERSATIONS, 1_000)
    create_customers("large", 1, since=now - MONTH)
    create_conversations("large", conversations, since=now - MONTH, during=MONTH)
    settle(as_of=now, now=now)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")  # which comes by itself in the course of such a month
    _, key = create_key("reader", ["read"], now=now)
    with web(OURS, data_dir) as port:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        first_s = _read(client, PATHS["running usage"], key)
        count_watched_ahead(now=dt.datetime.now(dt.UTC))  # as the sweep does
        print(
            f"{conversations:,} conversations: the first read takes {1000 * first_s:.0f} ms; from then on,", flush=True
        )
        p99_ms = {name: min(_p99_ms(client, name, key, reads) for _ in rounds(ROUNDS)) for name in PATHS}
    return {f"{name}, {conversations:,} conversations": best for name, best in p99_ms.items()}


def _p99_ms(client: http.client.HTTPConnection, name: str, key: str, reads: int) -> float:
    for _ in range(20):
        _read(client, PATHS[name], key)
    latencies_ms = sorted(1000 * _read(client, PATHS[name], key) for _ in range(reads))
    p50_ms, p99_ms = latencies_ms[reads // 2], latencies_ms[reads * 99 // 100]
    print(f"  {name}: p50 {p50_ms:.1f} ms, p99 {p99_ms:.1f} ms", flush=True)
    return p99_ms


def _read(client: http.client.HTTPConnection, path: str, key: str) -> float:
    """Seconds until the answer is there. Raises RuntimeError for one that is none."""
    begin = time.perf_counter()
    client.request("GET", path, headers={"Authorization": f"Bearer {key}"})
    answer = client.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{path}: {answer.status} {body[:300]!r}")
    return time.perf_counter() - begin
