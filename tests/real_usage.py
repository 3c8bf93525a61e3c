"""Where is the real usage, and to which figures must each of its files come? (It is not part of the project.)"""

from pathlib import Path
from typing import NamedTuple

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "realdata" / "events"

needs_real_usage = pytest.mark.skipif(not FOLDER.is_dir(), reason="the real usage is not part of the project")


class Figures(NamedTuple):
    """What a file comes to under the default scheme; `tiers` as in TIERS."""

    events: int
    conversations: int
    turns: int
    processed: int
    fresh: int
    context: int
    tiers: tuple[int, ...]


EXPECTED = {
    "aider_messages": Figures(614, 318, 614, 9_483_978, 9_483_978, 5_530_317, (90, 113, 90, 25)),
    "claude_code_sessions": Figures(2_133, 27, 225, 193_071_446, 8_483_649, 2_699_991, (0, 0, 1, 26)),
    "claude_code_raw_lines": Figures(344, 5, 344, 29_485_851, 1_659_215, 442_147, (0, 0, 0, 5)),
    "lmcache_agent_traces": Figures(110, 4, 24, 218_542, 121_774, 17_106, (0, 0, 3, 1)),
    "mooncake_conversation": Figures(1_182, 775, 1_182, 14_256_844, 10_003_910, 9_307_221, (290, 291, 161, 33)),
    "taubench_gpt4o_airline": Figures(223, 17, 120, 608_190, 87_486, 61_144, (1, 3, 11, 2)),
}
