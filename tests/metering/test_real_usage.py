"""Real conversations, token counts and times: every published figure, whatever the order of arrival."""

import functools
import json
import random
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from django.db.models import Sum

from metering.models import Conversation, Event
from metering.reports import EventIn, Report, read_report
from metering.tiering import count_tokens
from plans.customers import create_customer
from tests.cast import DEFAULT_TIERS, LATER, send, settled

REAL_USAGE = Path(__file__).resolve().parents[3] / "shared" / "realdata" / "events"
BATCH = 100

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(not REAL_USAGE.is_dir(), reason="the real usage is not part of the project"),
]


class Figures(NamedTuple):
    """What a file has to come to under the default scheme."""

    events: int
    conversations: int
    turns: int
    processed: int
    fresh: int
    context: int
    tiers: tuple[int, int, int, int]


EXPECTED = {
    "aider_messages": Figures(614, 318, 614, 9_483_978, 9_483_978, 5_530_317, (90, 113, 90, 25)),
    "claude_code_sessions": Figures(2_133, 27, 225, 193_071_446, 8_483_649, 2_699_991, (0, 0, 1, 26)),
    "claude_code_raw_lines": Figures(344, 5, 344, 29_485_851, 1_659_215, 442_147, (0, 0, 0, 5)),
    "lmcache_agent_traces": Figures(110, 4, 24, 218_542, 121_774, 17_106, (0, 0, 3, 1)),
    "mooncake_conversation": Figures(1_182, 775, 1_182, 14_256_844, 10_003_910, 9_307_221, (290, 291, 161, 33)),
    "taubench_gpt4o_airline": Figures(223, 17, 120, 608_190, 87_486, 61_144, (1, 3, 11, 2)),
}


@functools.cache
def reports_of(name: str) -> list[Report]:
    lines = (REAL_USAGE / f"{name}.ndjson").read_text().splitlines()
    sent = [msgspec.convert(json.loads(line), EventIn) for line in lines]
    return [read_report(index, one, now=LATER, backfill=True) for index, one in enumerate(sent)]


def figures() -> Figures:
    rows = list(Conversation.objects.all())
    tiers = Counter(row.tier for row in rows)
    return Figures(
        Event.objects.count(),
        len(rows),
        sum(row.turns for row in rows),
        *(
            sum(count_tokens(row, basis, count_retries=False) for row in rows)
            for basis in ("processed", "fresh", "context")
        ),
        tuple(tiers[code] for code, _, _ in DEFAULT_TIERS),
    )


@pytest.mark.parametrize("order", ["forward", "backward", "shuffled"])
@pytest.mark.parametrize("name", EXPECTED)
def test_the_published_figures_come_out_in_any_order(name: str, order: str) -> None:
    reports = list(reports_of(name))
    if order == "backward":
        reports.reverse()
    elif order == "shuffled":
        random.Random(name).shuffle(reports)
    for key in sorted({one.customer for one in reports}):
        create_customer(key=key, currency="USD", now=LATER)
    statuses = Counter()
    for start in range(0, len(reports), BATCH):
        statuses.update(send(reports[start : start + BATCH]))
    settled()
    assert figures() == EXPECTED[name]
    assert statuses["accepted"] == EXPECTED[name].events
    assert set(statuses) <= {"accepted", "updated", "duplicate"}
    assert Conversation.objects.aggregate(calls=Sum("calls"))["calls"] == EXPECTED[name].events
    assert set(send(reports[:BATCH])) == {"duplicate"}
