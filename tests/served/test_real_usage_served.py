"""Real usage through the whole of Parley: files, REST, database, `settle`: the published figures of each file."""

from collections import Counter

import pytest

from tests.served.real_usage import EXPECTED, Figures, create_customers, figures, file, needs_real_usage, replayed
from tests.served.real_usage import field_of_file
from tests.served.serving import Served

GROWING = "claude_code_raw_lines"  # tells of the sessions' calls once more, as they grew, under the same ids
OTHERS = [name for name in EXPECTED if name != GROWING]
FORGET_USAGE = "TRUNCATE metering_event, metering_conversation"

pytestmark = needs_real_usage


@pytest.fixture(params=[OTHERS, [GROWING]], ids=["all files of whole calls", "the file of growing calls"])
def files(request: pytest.FixtureRequest, served: Served) -> list[str]:
    """Files told once to a Parley that knows their customers, and settled."""
    served.run("replay", *map(file, request.param))


def test_every_published_figure_comes_out_and_telling_it_again_in_any_order_changes_nothing(served: Served) -> None:
    create_customers(served, *OTHERS)
    first = replayed(served.run("replay", *map(file, OTHERS)))
