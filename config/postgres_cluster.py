"""Where do the embedded server's files and socket lie, and how does a server user reach them?"""

import hashlib
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from config.postgres_binaries import ServerUser, major_version

ROLE = "parley"
PORT = 5432  # only a part of the socket's name; written out against a PGPORT in the environment
LONGEST_SOCKET_PATH = 107  # bytes the kernel allows
SHORT_ROOT = Path("/tmp")
FIRST_BUILTIN_LOCALE = 17  # the major version that knows the same C.UTF-8 on every platform


class UnsafeDirectory(Exception):
    """Somebody else owns, or may write to, the directory that is to hold our socket."""


class ClusterNotCreated(Exception):
    """`initdb` failed; the message is what it wrote."""


def short_dir(data_dir: Path) -> Path:
    """The private directory standing in for the data directory where its own path would be too long or out of reach."""
    name = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    return SHORT_ROOT / f"parley-{_owner(data_dir)}-{name}"


def socket_dir(data_dir: Path) -> Path:
    """The directory of the server's socket: a function of the data directory, so that everyone finds it.

    The server of a directory owned by root runs as somebody else, who may not be able to enter it.
    """
    inside = data_dir / "socket"
    fits = len(os.fsencode(inside / f".s.PGSQL.{PORT}")) <= LONGEST_SOCKET_PATH
    return inside if fits and _owner(data_dir) != 0 else short_dir(data_dir) / "socket"


def make_short_dir(data_dir: Path, user: ServerUser) -> Path:
    """Make `short_dir`, or check that the one found is ours. Raises UnsafeDirectory."""
    path = short_dir(data_dir)
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (os.geteuid(), _owner(data_dir)):
        raise UnsafeDirectory(f"{path} belongs to somebody else")
    if user.uid is None:
        path.chmod(0o700)
    else:
        path.chmod(0o711)  # the server user passes through; what lies below has permissions of its own
        os.chown(path, _owner(data_dir), -1)
    return path


@contextmanager
def reachable(directory: Path, user: ServerUser) -> Iterator[tuple[str, list[int]]]:
    """A path by which `user` reaches its own directory, and the descriptors a child must inherit for it.

    The directory may lie in root's home. An open descriptor leads to it without passing the directories above, whose
    permissions we leave alone.
    """
    if user.uid is None or user.can_enter(directory):
        yield str(directory), []
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}", [descriptor]
    finally:
        os.close(descriptor)


def create_cluster(cluster: Path, programs: Path, user: ServerUser, *, durable: bool) -> None:
    """Run `initdb` beside the final place and rename, so that a cluster is there wholly or not at all."""
    unfinished = cluster.with_name(f"{cluster.name}.new")
    remove_tree(unfinished)
    unfinished.mkdir(mode=0o700)
    user.own(unfinished)
    with reachable(unfinished, user) as (path, inherited):
        options = ["-D", path, "-U", ROLE, "-E", "UTF8", "--auth=trust", "--no-instructions", "--locale=C"]
        if major_version(programs) >= FIRST_BUILTIN_LOCALE:
            options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        if not durable:
            options.append("--no-sync")
        done = subprocess.run(
            [programs / "initdb", *options],
            capture_output=True,
            text=True,
            pass_fds=inherited,
            env={"PATH": os.defpath, "LC_ALL": "C"},
            **user.popen_options(),
        )
    if done.returncode != 0:
        raise ClusterNotCreated(done.stdout + done.stderr)
    unfinished.rename(cluster)


def remove_tree(path: Path) -> None:
    """Delete a directory with all below it, if there."""
    if path.exists():
        shutil.rmtree(path)


def _owner(data_dir: Path) -> int:
    return data_dir.stat().st_uid
