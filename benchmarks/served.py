"""What is measured against? A throw-away data directory with a durable database of its own, and web servers on it."""

import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from config.embedded_postgres import EmbeddedPostgres
from config.programs import PROTOCOL, Addresses, folder, free_port, web_server

ROOT = Path(__file__).resolve().parent.parent
WORKERS = 2
OURS, OBVIOUS = "config.asgi:application", "benchmarks.obvious.asgi:application"
START_TIMEOUT_S = 60.0


@contextmanager
def temporary_database() -> Iterator[Path]:
    """An embedded PostgreSQL with the settings of a real one, migrated; DATABASE_URL names it. Yields its directory."""
    with tempfile.TemporaryDirectory(prefix="parley-bench-") as directory:
        server = EmbeddedPostgres(Path(directory))
        os.environ |= {"DATABASE_URL": server.url, "PARLEY_DATA": directory}
        with server.session():
            run_manage("config.settings", "migrate", "--verbosity", "0")
            run_manage("benchmarks.obvious.settings", "migrate", "--run-syncdb", "--verbosity", "0")
            yield Path(directory)


def run_manage(settings: str, *arguments: str) -> str:
    """The output of a Django command in a process of its own."""
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": settings}
    command = [sys.executable, "-m", "django", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout.strip()


@contextmanager
def web(application: str, data_dir: Path) -> Iterator[int]:
    """The web server of `manage.py serve` with one of the applications; yields its port."""
    port = free_port(0)
    addresses = Addresses(data_dir=data_dir, url=f"http://127.0.0.1:{port}", port=port, stripe_port=None)
    command = web_server(addresses, WORKERS)
    if application != OURS:  # whose requests go the long way, as everybody's but Parley's do
        others = {OURS: application, PROTOCOL: "httptools"}
        command = [others.get(word, word) for word in command]
    with running(command, data_dir / "web.log") as process:
        _wait_for(addresses.url, process)
        yield port


@contextmanager
def folding(data_dir: Path) -> Iterator[None]:
    """What folds the stored events, as `manage.py serve` runs it."""
    with running(folder(), data_dir / "folder.log"):
        yield


@contextmanager
def running(command: list[str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A program in a process group of its own, ended with the block."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output, start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except urllib.error.HTTPError as answer:
            answer.close()
            return
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("the web server did not start")
