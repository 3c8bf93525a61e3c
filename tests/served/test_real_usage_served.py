"""Real usage through the whole of Parley: files, REST, database, `settle`: the published figures of each file."""

from collections import Counter

import pytest

from tests.real_usage import EXPECTED, needs_real_usage
from tests.served.real_usage import TIERS, create_customers, field_of_file, figures, file, replayed
from tests.served.serving import Served

GROWING = "claude_code_raw_lines"  # tells of the sessions' calls once more, as they grew, under the same ids
OTHERS = [name for name in EXPECTED if name != GROWING]
ORDERS = ("forward", "backward", "shuffle")

pytestmark = [
    needs_real_usage,
    pytest.mark.parametrize("names", [OTHERS, [GROWING]], ids=["files of whole calls", "file of growing calls"]),
]


def test_every_published_figure_comes_out_and_telling_all_again_in_any_order_changes_nothing(
    served: Served, names: list[str]
) -> None:
    expected = {name: EXPECTED[name] for name in names}
    served.forget_usage()
    create_customers(served, *names)
    told = replayed(served.run("replay", *map(file, names)))
    served.run("settle")
    assert {name: figures(served, name) for name in names} == expected
    for name, counts in told.items():
        assert counts.pop("accepted") == EXPECTED[name].events
        assert set(counts) <= {"sent", "updated", "duplicate"}
    for order in ORDERS:
        again = replayed(served.replay(*map(file, names), order=order))
        assert all(counts == {"sent": counts["sent"], "duplicate": counts["sent"]} for counts in again.values()), again
    assert {name: figures(served, name) for name in names} == expected
    for name in names:
        the_rest_api_tells_the_same_figures(served, name)


def the_rest_api_tells_the_same_figures(served: Served, name: str) -> None:
    references = set(field_of_file(name, "conversation"))
    settled = served.ask_all("/v1/conversations?state=settled&limit=1000")
    told = [conversation for conversation in settled if conversation["reference"] in references]
    tiers = Counter(conversation["tier"] for conversation in told)
    assert len(told) == EXPECTED[name].conversations
    assert sum(conversation["turns"] for conversation in told) == EXPECTED[name].turns
    assert sum(conversation["tokens"]["counted"] for conversation in told) == EXPECTED[name].processed
    assert tuple(tiers[tier] for tier in TIERS) == EXPECTED[name].tiers
