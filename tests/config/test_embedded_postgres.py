"""The embedded server survives whatever is done to it, and outlives nobody."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from config.embedded_postgres import EmbeddedPostgres

HOLD_A_SESSION = """
import sys, time
from pathlib import Path
from config.embedded_postgres import EmbeddedPostgres
with EmbeddedPostgres(Path(sys.argv[1]), durable=False).session():
    print("open", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def server(tmp_path: Path) -> EmbeddedPostgres:
    return EmbeddedPostgres(tmp_path / "data", durable=False)


def hold_a_session(server: EmbeddedPostgres) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", HOLD_A_SESSION, str(server.data_dir)]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "open\n"
    return holder


def kill(holder: "subprocess.Popen[str]") -> None:
    with holder:
        holder.kill()


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def count_of_notes(server: EmbeddedPostgres) -> int:
    with psycopg.connect(server.url) as connection:
        row = connection.execute("SELECT count(*) FROM note").fetchone()
    assert row is not None
    return int(row[0])


def write_a_note(server: EmbeddedPostgres) -> None:
    with psycopg.connect(server.url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS note (id int)")
        connection.execute("INSERT INTO note VALUES (1)")


def test_a_second_session_finds_what_the_first_one_wrote(server: EmbeddedPostgres) -> None:
    with server.session():
        write_a_note(server)
    assert not server.answers()
    with server.session():
        assert count_of_notes(server) == 1


def test_no_process_and_no_short_directory_is_left_behind(server: EmbeddedPostgres) -> None:
    with server.session():
        pid = server.postmaster_pid()
        assert pid is not None
        assert is_alive(pid)
    assert not is_alive(pid)
    assert not list(Path("/tmp").glob(f"parley-*/{server.data_dir.name}"))


def test_two_sessions_share_one_server_and_the_last_one_stops_it(server: EmbeddedPostgres) -> None:
    with server.session():
        first = server.postmaster_pid()
        with server.session():
            assert server.postmaster_pid() == first
        assert server.answers()
    assert not server.answers()


def test_two_simultaneous_starts_give_one_server(server: EmbeddedPostgres) -> None:
    command = [sys.executable, "-c", HOLD_A_SESSION, str(server.data_dir)]
    holders = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for holder in holders:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
    assert server.log.read_text().count("starting PostgreSQL") == 1
    for holder in holders:
        kill(holder)
    assert eventually(lambda: not server.answers())


def test_a_killed_postmaster_is_replaced_and_nothing_committed_is_lost(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "data")
    with server.session():
        write_a_note(server)
        pid = server.postmaster_pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        server.start()
        assert count_of_notes(server) == 1


def test_a_server_whose_only_user_was_killed_stops_by_itself(server: EmbeddedPostgres) -> None:
    holder = hold_a_session(server)
    kill(holder)
    assert eventually(lambda: not server.answers())
    with server.session():
        assert server.answers()


def test_a_start_recovers_after_user_keeper_and_postmaster_were_killed(server: EmbeddedPostgres) -> None:
    holder = hold_a_session(server)
    postmaster = server.postmaster_pid()
    assert postmaster is not None
    keeper = int(Path(f"/proc/{postmaster}/stat").read_text().rpartition(")")[2].split()[1])
    for pid in (keeper, postmaster):
        os.kill(pid, signal.SIGKILL)
    kill(holder)
    with server.session():
        assert server.postmaster_pid() != postmaster


def test_a_server_without_its_keeper_is_joined_and_stopped(server: EmbeddedPostgres) -> None:
    with server.session():
        postmaster = server.postmaster_pid()
        assert postmaster is not None
        os.kill(int(Path(f"/proc/{postmaster}/stat").read_text().rpartition(")")[2].split()[1]), signal.SIGKILL)
        assert server.answers()
    assert not is_alive(postmaster)


def test_a_deep_data_directory_works_though_its_path_is_too_long_for_a_socket(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path.joinpath(*["a-directory-with-a-long-name"] * 5), durable=False)
    with server.session():
        write_a_note(server)
        assert count_of_notes(server) == 1


def test_a_directory_that_the_server_user_may_not_enter_works(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    server = EmbeddedPostgres(closed / "data", durable=False)
    with server.session():
        write_a_note(server)
        assert count_of_notes(server) == 1
