"""How does one item that breaks keep no other waiting? What fails for many is tried for each half of them.

For sweeps, which come again: what is left is logged, and waits for the next one.
"""

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from metering.catching_up import LOST

logger = logging.getLogger(__name__)

Item = TypeVar("Item")


def count_what_works(do: Callable[[Sequence[Item]], int], items: Sequence[Item], *, failure: str) -> int:
    """`do` it with all items, or else with each for which it works; the sum of what it returned.

    It must be all or nothing. `failure` is logged with the item (its `%s`). A lost database is raised, for without it
    nothing works for anybody.
    """
    try:
        return do(items)
    except LOST:
        raise
    except Exception:
        if len(items) == 1:
            logger.exception(failure, items[0])
            return 0
    half = len(items) // 2
    return sum(count_what_works(do, part, failure=failure) for part in (items[:half], items[half:]))
