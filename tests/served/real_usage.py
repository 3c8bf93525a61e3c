"""Which figures must each file of real usage come to, and which has a served Parley of it?"""

import json
from collections import Counter
from pathlib import Path

from tests.real_usage import FOLDER, Figures
from tests.served.serving import Served

TIERS = ("simple", "standard", "complex", "enterprise")

# Files share customers but, other than the raw lines and the sessions, no conversation: its references tell a file.
FIGURES = """
WITH sitting AS (
    SELECT turns, counted_tokens, peak_context_first,
           input_tokens - retry_input_tokens + cache_write_tokens - retry_cache_write_tokens
           + output_tokens - retry_output_tokens AS fresh
    FROM metering_conversation LEFT JOIN metering_settledconversation USING (customer_id, id)
    WHERE reference = ANY(%s)
)
SELECT (SELECT count(*) FROM metering_event WHERE conversation = ANY(%s)),
       count(*), sum(turns), sum(counted_tokens), sum(fresh), sum(peak_context_first)
FROM sitting
"""
SITTINGS_BY_TIER = """
SELECT tier, count(*) FROM metering_conversation LEFT JOIN metering_settledconversation USING (customer_id, id)
WHERE reference = ANY(%s) GROUP BY tier"""


def file(name: str) -> str:
    return str(FOLDER / f"{name}.ndjson")


def field_of_file(name: str, field: str) -> list[str]:
    """The different values of a field in a file."""
    return sorted({json.loads(line)[field] for line in Path(file(name)).read_text().splitlines()})


def create_customers(served: Served, *names: str) -> None:
    """The customers of these files, without a plan."""
    known = {customer["key"] for customer in served.ask_all("/v1/customers?limit=1000")}
    for key in sorted({key for name in names for key in field_of_file(name, "customer")} - known):
        served.ask("/v1/customers", {"key": key, "name": key, "currency": "USD"})


def figures(served: Served, name: str) -> Figures:
    """What the served Parley has of a file, once its conversations are settled."""
    references = field_of_file(name, "conversation")
    row = served.query(FIGURES, references, references)[0]
    tiers = Counter(dict(served.query(SITTINGS_BY_TIER, references)))
    return Figures(*map(int, row), tuple(tiers[tier] for tier in TIERS))


def replayed(printed: str) -> dict[str, dict[str, int]]:
    """What `replay` says became of each file: `{"aider_messages": {"sent": 614, "accepted": 614, ...}, ...}`."""
    heads, *rows = [line.split() for line in printed.splitlines() if line.startswith("file ") or ".ndjson " in line]
    numbers = {row[0]: [int(word.replace(",", "")) for word in row[1:]] for row in rows}
    return {
        name.removesuffix(".ndjson"): {head: number for head, number in zip(heads[1:], counts, strict=True) if number}
        for name, counts in numbers.items()
    }
