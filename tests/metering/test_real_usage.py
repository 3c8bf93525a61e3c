"""Real conversations, token counts and times: every published figure, whatever the order of arrival."""

import functools
import json
import random
from collections import Counter

import msgspec
import pytest
from django.db.models import Sum

from metering.models import Conversation, Event
from metering.reports import EventIn, Report, read_report
from metering.tiering import count_tokens
from plans.customers import create_customer
from tests.cast import DEFAULT_TIERS, LATER, send, settled
from tests.real_usage import EXPECTED, FOLDER, Figures, needs_real_usage

BATCH = 100

pytestmark = [
    pytest.mark.django_db,
    needs_real_usage,
]


@functools.cache
def reports_of(name: str) -> list[Report]:
    lines = (FOLDER / f"{name}.ndjson").read_text().splitlines()
    sent = [msgspec.convert(json.loads(line), EventIn) for line in lines]
    return [read_report(index, one, now=LATER, backfill=True) for index, one in enumerate(sent)]


def figures() -> Figures:
    rows = list(Conversation.objects.select_related("settled"))
    tiers = Counter(row.settled.tier for row in rows)
    return Figures(
        Event.objects.count(),
        len(rows),
        sum(row.settled.turns for row in rows),
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
