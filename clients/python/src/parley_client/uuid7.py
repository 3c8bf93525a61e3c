"""Which id does a call get that its provider gave none? UUID version 7 (RFC 9562): random, and sorted by time.

Made once, before anything is sent, so that sending it again is the same event.
"""

from __future__ import annotations

import os
import time
import uuid


def uuid7() -> str:
    """48 bits of Unix milliseconds, then 74 random ones."""
    unix_ms, noise = time.time_ns() // 1_000_000, int.from_bytes(os.urandom(10), "big")
    upper, lower = noise >> 68, noise & (1 << 62) - 1
    return str(uuid.UUID(int=unix_ms << 80 | 7 << 76 | upper << 64 | 0b10 << 62 | lower))
