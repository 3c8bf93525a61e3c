"""Where was it measured? One line, since no figure means anything without it."""

import os
import platform
from pathlib import Path

import psycopg


def machine() -> str:
    """Processors, memory, system, Python and the database with the settings that decide about durability."""
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        names = ("server_version", "fsync", "synchronous_commit", "shared_buffers")
        version, *settings = (connection.execute(f"SHOW {name}").fetchone() or [""] for name in names)
    durability = ", ".join(f"{name} {value}" for name, [value] in zip(names[1:], settings, strict=True))
    return (
        f"{os.cpu_count()} x {_processor()}, {memory_gib:.0f} GiB, {platform.system()} {platform.release()},"
        f" Python {platform.python_version()}, PostgreSQL {version[0]} ({durability});"
        f" load average at the start {os.getloadavg()[0]:.1f}"
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
