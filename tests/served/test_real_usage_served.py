"""Real usage through the whole of Parley: files, REST, database, `settle`: the published figures of each file."""

from collections import Counter

import pytest

from tests.served.real_usage import (
    EXPECTED,
    TIERS,
    create_customers,
    field_of_file,
    figures,
    file,
    needs_real_usage,
    replayed,
)
from tests.served.serving import Served

GROWING = "claude_code_raw_lines"  # tells of the sessions' calls once more, as they grew, under the same ids
OTHERS = [name for name in EXPECTED if name != GROWING]
ORDERS = ("forward", "backward", "shuffle")
FORGET_USAGE = "TRUNCATE metering_event, metering_conversation"

pytestmark = [
    needs_real_usage,
    pytest.mark.parametrize("names", [OTHERS, [GROWING]], ids=["the files of whole calls", "the file of growing calls"]),
]


def test_every_published_figure_comes_out_and_telling_it_again_in_any_order_changes_nothing(
    served: Served, names: list[str]
) -> None:
    served.execute(FORGET_USAGE)
    create_customers(served, *names)
    told = replayed(served.run("replay", *map(file, names)))
    served.run("settle")
    assert {name: figures(served, name) for name in names} == {name: EXPECTED[name] for name in names}
    for name in names:
        assert told[name].pop("accepted") == EXPECTED[name].events
        assert set(told[name]) <= {"sent", "updated", "duplicate"}
    for order in ORDERS:
        again = replayed(served.run("replay", *map(file, names), "--order", order))
        assert all(counts == {"sent": counts["sent"], "duplicate": counts["sent"]} for counts in again.values()), again
    served.run("settle")
    assert {name: figures(served, name) for name in names} == {name: EXPECTED[name] for name in names}


@pytest.mark.parametrize("order", ORDERS[1:])
def test_the_published_figures_come_out_whatever_was_told_first(served: Served, names: list[str], order: str) -> None:
    served.execute(FORGET_USAGE)
    create_customers(served, *names)
    served.run("replay", *map(file, names), "--order", order, "--batch", "100")
    served.run("settle")
    assert {name: figures(served, name) for name in names} == {name: EXPECTED[name] for name in names}


def test_the_rest_api_tells_the_same_figures(served: Served, names: list[str]) -> None:
    served.execute(FORGET_USAGE)
    create_customers(served, *names)
    served.run("replay", *map(file, names))
    served.run("settle")
    told = list(served.ask_all("/v1/conversations?state=settled&limit=1000"))
    for name in names:
        references = set(field_of_file(name, "conversation"))
        ours = [conversation for conversation in told if conversation["reference"] in references]
        tiers = Counter(conversation["tier"] for conversation in ours)
        assert len(ours) == EXPECTED[name].conversations
        assert sum(conversation["turns"] for conversation in ours) == EXPECTED[name].turns
        assert sum(conversation["tokens"]["counted"] for conversation in ours) == EXPECTED[name].processed
        assert tuple(tiers[tier] for tier in TIERS) == EXPECTED[name].tiers
