"""`manage.py serve` keeps its programs running, refuses a second one, and leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from config.celery import database_as_broker, transport_options

ROOT = Path(__file__).resolve().parent.parent.parent
OWN_DATABASE = {"DATABASE_URL", "PARLEY_DATA", "STRIPE_API_KEY"}


def serve_command(data_dir: Path) -> list[str]:
    return [sys.executable, str(ROOT / "manage.py"), "serve", "--port", "0", "--workers", "1", "--data", str(data_dir)]


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in OWN_DATABASE}


@contextmanager
def serving(data_dir: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A server that has announced itself; whatever the test does, it is stopped in the end."""
    with subprocess.Popen(serve_command(data_dir), env=environment(), stdout=subprocess.DEVNULL) as server:
        try:
            assert eventually((data_dir / "serve.json").exists), "the server did not come up"
            yield server
        finally:
            server.terminate()


def eventually(condition: Callable[[], bool], within_s: float = 90) -> bool:
    deadline = time.monotonic() + within_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)
    return condition()


def processes_of(data_dir: Path) -> list[int]:
    """Everything that names the data directory in its arguments or environment, zombies aside."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue
        if os.fsencode(data_dir) in text and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found


def status_at(data_dir: Path, path: str) -> int:
    try:
        with urllib.request.urlopen(
            json.loads((data_dir / "serve.json").read_text())["url"] + path, timeout=5
        ) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code


def test_serve_answers_refuses_a_second_one_and_leaves_nothing_after_sigterm(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        assert status_at(tmp_path, "/admin/login/") == 200
        second = subprocess.run(serve_command(tmp_path), env=environment(), capture_output=True, text=True)
        assert second.returncode == 1
        assert "already running" in second.stderr
        server.terminate()
        assert server.wait(10) == 0
        assert processes_of(tmp_path) == []
    assert not (tmp_path / "serve.json").exists()


def test_serve_replaces_a_killed_database_and_web_server_and_is_replaced_when_killed_itself(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        postmaster = int((tmp_path / "postgres" / "postmaster.pid").read_text().split()[0])
        os.kill(postmaster, signal.SIGKILL)
        for pid in processes_of(tmp_path):
            with suppress(FileNotFoundError, ProcessLookupError):  # it served the database that was killed
                if b"uvicorn" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)
        assert eventually(lambda: replaced(tmp_path, postmaster))
        server.kill()
        server.wait()
    (tmp_path / "serve.json").unlink()
    with serving(tmp_path):
        assert status_at(tmp_path, "/admin/login/") == 200


def replaced(data_dir: Path, postmaster: int) -> bool:
    try:
        new = int((data_dir / "postgres" / "postmaster.pid").read_text().split()[0])
        return new != postmaster and status_at(data_dir, "/admin/login/") == 200
    except (OSError, IndexError):
        return False


@pytest.mark.parametrize(
    ("database", "broker"),
    [
        ("postgresql://u:p@db:5432/x", "sqla+postgresql+psycopg://u:p@db:5432/x"),
        ("postgresql://u@/x?host=%2Frun%2FS", "sqla+postgresql+psycopg://u@/x?host=%2Frun%2FS"),
        ("postgresql://u@%2Frun%2FS/x", "sqla+postgresql+psycopg://u@/x?host=%2Frun%2FS"),
    ],
)
def test_the_database_serves_as_broker_also_through_its_socket(database: str, broker: str) -> None:
    assert database_as_broker(database) == broker


def test_every_transport_gets_the_options_it_understands() -> None:
    assert transport_options("amqp://mq") == {"confirm_publish": True}
    assert transport_options("redis://r")["unacked_restore_throttle"] == 1
    assert "pool_pre_ping" in transport_options("sqla+postgresql+psycopg://db/x")
