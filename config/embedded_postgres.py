"""Where is the database when DATABASE_URL names none? A private PostgreSQL server in the data directory.

It is reached through a Unix socket only, shared by every command that works on the same directory, and stopped when
the last of them has ended. Three locks carry all of this, because the kernel drops them however a process dies:

- `server.lock` is held by every process of the server through an inherited descriptor: who gets it knows none is left;
- `users.lock` is held shared by whoever uses the server: whoever gets it exclusively may stop the server;
- `start.lock` lets one process at a time start the server.
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

import psycopg

from config import postgres_keeper
from config.postgres_binaries import runnable_programs, server_user
from config.postgres_cluster import (
    PORT,
    ROLE,
    create_cluster,
    make_short_dir,
    reachable,
    remove_tree,
    short_dir,
    socket_dir,
)

DATABASE = "parley"
START_TIMEOUT_S = 60.0  # a crash recovery is part of it
STOP_TIMEOUT_S = 60.0
LARGEST_SHARED_BUFFERS_MB = 1024
LOG_TAIL_BYTES = 2000

SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "synchronous_commit": "on",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    "autovacuum_naptime": "15s",  # what waits to be folded is written and deleted all the time
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class PostgresDidNotStart(Exception):
    """The server ended at once or kept silent; the message ends with the tail of its log."""


class PostgresDidNotStop(Exception):
    """Processes of the server are left after a fast shutdown."""


class EmbeddedPostgres:
    """The server that keeps its state under `data_dir`; `durable=False` gives up crash safety, for throw-away tests."""

    # The keepers started by this process, by data directory: referred to until they are reaped.
    _keepers: ClassVar[dict[Path, subprocess.Popen[bytes]]] = {}

    def __init__(self, data_dir: Path, *, durable: bool = True) -> None:
        self.data_dir = data_dir.resolve()
        self.durable = durable
        self.cluster = self.data_dir / "postgres"
        self.log = self.data_dir / "postgres.log"
        # Root's server runs as another user, who may pass through but not look around.
        self.data_dir.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        """What DATABASE_URL is set to: the socket's directory stands in the query, where every driver finds it."""
        return self._url_of(DATABASE)

    @contextmanager
    def session(self) -> Iterator[None]:
        """Join the running server or start it; at the end stop it unless others use it.

        Raises PostgresDidNotStart, PostgresDidNotStop.
        """
        users = self._open_lock("users.lock")
        try:
            fcntl.flock(users, fcntl.LOCK_SH)  # waits while the last user before us stops the server
            self.start()
            try:
                yield
            finally:
                self._stop_if_unused(users)
        finally:
            os.close(users)

    def start(self) -> None:
        """Make the server answer, whatever state it was left in. Raises PostgresDidNotStart.

        Call it inside a `session`: a server without users is stopped.
        """
        mutex = self._open_lock("start.lock")
        try:
            fcntl.flock(mutex, fcntl.LOCK_EX)
            self._start_alone()
        finally:
            os.close(mutex)

    def stop(self) -> None:
        """Stop the server, whoever uses it, until none of its processes is left. Raises PostgresDidNotStop."""
        server = self._open_lock("server.lock")
        try:
            deadline = time.monotonic() + STOP_TIMEOUT_S
            while not _locked(server):
                self._interrupt_postmaster()
                if time.monotonic() > deadline:
                    raise PostgresDidNotStop(f"processes of the server in {self.data_dir} are left; see {self.log}")
                time.sleep(0.05)
            remove_tree(short_dir(self.data_dir))
        finally:
            os.close(server)
        self._reap_keeper()

    def answers(self) -> bool:
        """Whether the server takes connections now."""
        try:
            self._connect_or_create()
        except psycopg.OperationalError:
            return False
        return True

    def postmaster_pid(self) -> int | None:
        """The server's first process by its own record, which outlives a crash."""
        try:
            return int((self.cluster / "postmaster.pid").read_text().split("\n", 1)[0])
        except (FileNotFoundError, ValueError):
            return None

    def _start_alone(self) -> None:
        spawned, deadline = False, time.monotonic() + START_TIMEOUT_S
        while not self.answers():
            # A server lock held by others means a server that is starting, or dying of a crash: either ends soon.
            lock = self._open_lock("server.lock")
            try:
                if _locked(lock):
                    if spawned:
                        raise PostgresDidNotStart(f"PostgreSQL ended at once:\n{self._log_tail()}")
                    self._spawn(lock)
                    spawned = True
            finally:
                os.close(lock)
            if time.monotonic() > deadline:
                raise PostgresDidNotStart(f"PostgreSQL in {self.data_dir} keeps silent:\n{self._log_tail()}")
            time.sleep(0.03)

    def _spawn(self, server_lock: int) -> None:
        """With the lock in hand, whatever a former server left is stale. Its descriptor goes to the new server."""
        self._reap_keeper()
        user = server_user(self.data_dir)
        programs = runnable_programs(user, make_short_dir(self.data_dir, user))
        if not self.cluster.exists():
            create_cluster(self.cluster, programs, user, durable=self.durable)
        (self.cluster / "postmaster.pid").unlink(missing_ok=True)
        sockets = socket_dir(self.data_dir)
        remove_tree(sockets)
        sockets.mkdir(mode=0o700)
        user.own(sockets)
        with reachable(self.cluster, user) as (cluster, inherited), self.log.open("ab") as log:
            user.own(self.log)
            inherited = [server_lock, *inherited]
            order = {
                "command": [str(programs / "postgres"), "-D", cluster, *self._settings(sockets)],
                "inherited": inherited,
                "options": user.popen_options(),
                "users_lock": str(self.data_dir / "users.lock"),
                "leftovers": str(short_dir(self.data_dir)),
            }
            keeper = subprocess.Popen(
                [sys.executable, "-I", "-S", postgres_keeper.__file__, json.dumps(order)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=inherited,
                start_new_session=True,  # a Ctrl-C in the terminal is for us, not for the server
                cwd="/",
            )
        self._keepers[self.data_dir] = keeper

    def _settings(self, sockets: Path) -> list[str]:
        memory_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
        safe = "on" if self.durable else "off"
        settings = SETTINGS | {
            "unix_socket_directories": str(sockets),
            "shared_buffers": f"{min(LARGEST_SHARED_BUFFERS_MB, max(16, memory_mb // 8))}MB",
            "fsync": safe,
            "full_page_writes": safe,
        }
        return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]

    def _connect_or_create(self) -> None:
        try:
            psycopg.connect(self.url, connect_timeout=5).close()
        except psycopg.OperationalError as refusal:
            # libpq gives refused connections no error code. Only a living server can miss the database.
            if f'database "{DATABASE}" does not exist' not in str(refusal):
                raise
            with psycopg.connect(self._url_of("postgres"), autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {DATABASE}")

    def _stop_if_unused(self, users: int) -> None:
        if _locked(users):
            self.stop()
        else:
            # Either others use it, or the keeper is stopping it: then this waits until it has.
            fcntl.flock(users, fcntl.LOCK_SH)

    def _reap_keeper(self) -> None:
        """The keeper holds the server lock too: whoever has got the lock does not wait here."""
        if keeper := self._keepers.pop(self.data_dir, None):
            keeper.wait()

    def _interrupt_postmaster(self) -> None:
        """Ask for a fast shutdown, as `pg_ctl stop -m fast` does."""
        if pid := self.postmaster_pid():
            with suppress(ProcessLookupError):  # it is gone; its last children will follow
                os.kill(pid, signal.SIGINT)

    def _url_of(self, database: str) -> str:
        host = quote(str(socket_dir(self.data_dir)), safe="")
        return f"postgresql://{ROLE}@/{database}?host={host}&port={PORT}"

    def _open_lock(self, name: str) -> int:
        descriptor = os.open(self.data_dir / name, os.O_RDONLY | os.O_CREAT, 0o644)
        server_user(self.data_dir).own(self.data_dir / name)
        return descriptor

    def _log_tail(self) -> str:
        return self.log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace") if self.log.exists() else ""


def _locked(descriptor: int, kind: int = fcntl.LOCK_EX) -> bool:
    """Try to lock without waiting. Trying again to lock otherwise gives up the lock held, granted or not."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
