"""What do the tests of a served Parley do with it? Start it as a user does, give it commands, look, and stop it.

Everything runs as programs of their own on a data directory of their own: nothing here shares the database, or any
state, of the test process.
"""

import io
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from django.core.management import call_command

from config.embedded_postgres import EmbeddedPostgres

ROOT = Path(__file__).resolve().parents[2]
USAGE = (
    "metering_event",
    "metering_conversation",
    "metering_openconversation",
    "metering_settledconversation",
    "metering_unfoldedevents",
    "metering_quarantinedevent",
)
NOT_INHERITED = ("DATABASE_URL", "CELERY_", "PARLEY_", "STRIPE_", "PYTEST_", "DJANGO_")
START_WITHIN_S, STOP_WITHIN_S, COMMAND_WITHIN_S = 90.0, 20.0, 120.0


class Process(NamedTuple):
    """A process as the kernel shows it."""

    parent: int
    command: str


def manage(data_dir: Path, *words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """`manage.py WORDS...` on the data directory, to its end."""
    return subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=ROOT,
        env=environment(data_dir) | variables,
        capture_output=True,
        text=True,
        timeout=COMMAND_WITHIN_S,
    )


def environment(data_dir: Path) -> dict[str, str]:
    """Ours, without what names the database and the state of the tests around us.

    Where Python is not to write bytecode beside the sources it does so elsewhere: a dozen processes start here, and
    compiling everything anew takes each of them seconds.
    """
    own = {name: value for name, value in os.environ.items() if not name.startswith(NOT_INHERITED)}
    if own.pop("PYTHONDONTWRITEBYTECODE", ""):
        own["PYTHONPYCACHEPREFIX"] = str(ROOT / ".pytest_cache" / "bytecode")
    return own | {"PARLEY_DATA": str(data_dir)}


class Served:
    """A Parley kept running by `manage.py serve` on a data directory, and a key to it with every scope."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.log = data_dir / "serve.log"
        self.server: subprocess.Popen[bytes] | None = None
        self.key = ""

    @property
    def url(self) -> str:
        return str(json.loads((self.data_dir / "serve.json").read_text())["url"])

    def start(self) -> None:
        """Returns when the server has announced itself."""
        if self.server is not None:
            self.server.wait(STOP_WITHIN_S)  # it was killed
        command = [sys.executable, "manage.py", "serve", "--port", "0", "--data", str(self.data_dir)]
        (self.data_dir / "serve.json").unlink(missing_ok=True)  # a killed server could not withdraw it
        with self.log.open("ab") as log:
            self.server = subprocess.Popen(
                command, cwd=ROOT, env=environment(self.data_dir), stdout=log, stderr=log, start_new_session=True
            )
        announced = eventually((self.data_dir / "serve.json").exists, within_s=START_WITHIN_S)
        assert announced, f"the server did not come up: {self.log.read_text()}"

    def stop(self) -> None:
        """Ask it to end, as Ctrl-C does; nothing of it may be left."""
        assert self.server is not None
        self.server.terminate()
        assert self.server.wait(STOP_WITHIN_S) == 0
        assert processes_of(self.data_dir) == {}

    def run(self, *words: str) -> str:
        """What a command that succeeds prints."""
        done = manage(self.data_dir, *words, PARLEY_KEY=self.key)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def replay(self, *files: str, **options: Any) -> str:
        """What `replay` prints. It works through the REST API alone, so it may run here, which is quicker."""
        printed = io.StringIO()
        call_command("replay", *files, url=self.url, key=self.key, stdout=printed, **options)
        return printed.getvalue()

    @contextmanager
    def at_work(self, *words: str) -> Iterator["subprocess.Popen[str]"]:
        """A command at work while the test goes on, which ends with the test at the latest."""
        command = subprocess.Popen(
            [sys.executable, "manage.py", *words],
            cwd=ROOT,
            env=environment(self.data_dir) | {"PARLEY_KEY": self.key},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with command:
            try:
                yield command
            finally:
                command.kill()

    def ask(self, path: str, body: Any = None) -> Any:
        """The JSON that the REST API answers: to a GET, or to a POST of `body`."""
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        sent = None if body is None else json.dumps(body).encode()
        url = path if path.startswith("http") else self.url + path
        with urllib.request.urlopen(urllib.request.Request(url, sent, headers), timeout=30) as answer:
            return json.loads(answer.read())

    def ask_all(self, path: str) -> Iterator[Any]:
        """Every item of a list, page after page."""
        following: str | None = path
        while following is not None:
            page = self.ask(following)
            yield from page["data"]
            following = page["next"]

    def status(self, path: str) -> int:
        """The HTTP status of a page, asked for without a key."""
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return int(answer.status)

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows straight from the database."""
        with psycopg.connect(EmbeddedPostgres(self.data_dir).url) as connection:
            return connection.execute(sql, values).fetchall()

    def forget_usage(self) -> None:
        """Have no events and no conversations; again if it meets a sweep that locks the same tables the other way."""
        with psycopg.connect(EmbeddedPostgres(self.data_dir).url, autocommit=True) as connection:
            while True:
                with suppress(psycopg.errors.DeadlockDetected):
                    connection.execute(f"TRUNCATE {', '.join(USAGE)} CASCADE")
                    return

    def count(self, table: str) -> int | None:
        """Rows of a table; None while the database is down."""
        try:
            return int(self.query(f"SELECT count(*) FROM {table}")[0][0])
        except psycopg.OperationalError:
            return None


@contextmanager
def serving(data_dir: Path) -> Iterator[Served]:
    """A served Parley; whatever happens inside, it is stopped, and leaves no process."""
    served = Served(data_dir)
    served.start()
    try:
        scopes = "ingest,read,manage,backfill"
        served.key = served.run("create_api_key", "tests", "--scopes", scopes).strip()
        yield served
    finally:
        served.stop()


def eventually(condition: Callable[[], bool], *, within_s: float) -> bool:
    """Whether it comes true in time; it need not stay so."""
    deadline = time.monotonic() + within_s
    while not (is_true := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return is_true


def processes_of(data_dir: Path) -> dict[int, Process]:
    """All processes that name the directory in arguments or environment, with their children, by id; zombies aside.

    The children, because those of PostgreSQL overwrite both.
    """
    everybody = dict(_everybody())
    found = {pid for pid, (_, text) in everybody.items() if os.fsencode(data_dir) in text} - {os.getpid()}
    while more := {pid for pid, (process, _) in everybody.items() if process.parent in found} - found:
        found |= more
    return {pid: everybody[pid][0] for pid in found}


def _everybody() -> Iterator[tuple[int, tuple[Process, bytes]]]:
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command, variables = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
            status, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if status != "Z":
            words = command.replace(b"\0", b" ").decode(errors="replace").strip()
            yield int(entry.name), (Process(int(parent), words), command + variables)
