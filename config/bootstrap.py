"""How does a fresh clone get its environment, with nothing installed but Python?

`python3 config/bootstrap.py [--dev]` makes `.venv` with the hash-pinned packages of requirements.txt (and
requirements-dev.txt). It needs the standard library only: not even pip or venv, which a bare Debian lacks. uv
does the work: the one on the PATH, else the one named in uv.lock.json, fetched from the package index and checked
against its hash. Where neither can be had, Python's own venv and pip do. `--uv ARGUMENTS` runs that uv.
"""

import argparse
import base64
import configparser
import contextlib
import fcntl
import hashlib
import html
import io
import json
import os
import platform
import re
import shutil
import ssl
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
TOOLS = ROOT / ".venv-tools"
STAMP = VENV / "parley-stamp"
UV_LOCK = Path(__file__).with_name("uv.lock.json")
OLDEST_PYTHON = (3, 11)
# Not the one inside .venv, which may have to be made anew.
INTERPRETER: str = getattr(sys, "_base_executable", None) or sys.executable

# The public index, where the environment and pip's configuration name none: its name and its domain.
DEFAULT_INDEX_HOST = ("pypi", "org")
PIP_CONFIGURATIONS = ("/etc/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf")  # the last one wins
FETCH_TIMEOUT_S = 60


class CannotFetchUv(Exception):
    """No uv for this platform is pinned, or the index has not the file that is."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Make .venv with the pinned packages.")
    parser.add_argument("--dev", action="store_true", help="with the tools for tests and checks")
    parser.add_argument("--uv", nargs=argparse.REMAINDER, help="run uv with these arguments instead")
    arguments = parser.parse_args()
    dev: bool = arguments.dev
    if sys.version_info < OLDEST_PYTHON:
        sys.exit(f"Parley needs Python 3.11 or newer; {sys.executable} is {platform.python_version()}.")
    if arguments.uv:
        with only_one_at_a_time():
            uv = shutil.which("uv") or str(fetch_uv())
        sys.exit(subprocess.run([uv, *arguments.uv], env=uv_environment()).returncode)
    if not is_ready(dev):
        with only_one_at_a_time():
            if not is_ready(dev):
                print("Making the environment in .venv ...", flush=True)
                make_environment(dev)


def is_ready(dev: bool) -> bool:
    """Whether .venv holds what the requirement files say; one with the tools serves those who need none, too."""
    wanted = {stamp(dev=True)} if dev else {stamp(dev=True), stamp(dev=False)}
    return STAMP.exists() and STAMP.read_text() in wanted and (VENV / "bin" / "python").exists()


def stamp(dev: bool) -> str:
    """What the environment depends on: pins, Python, and its own place, which is written into its scripts."""
    digest = hashlib.sha256(f"{sys.version}\n{VENV}\n".encode())
    for file in requirement_files(dev):
        digest.update(file.read_bytes())
    return ("dev " if dev else "run ") + digest.hexdigest()


def requirement_files(dev: bool) -> list[Path]:
    return [ROOT / "requirements.txt", *([ROOT / "requirements-dev.txt"] if dev else [])]


@contextlib.contextmanager
def only_one_at_a_time() -> Iterator[None]:
    TOOLS.mkdir(exist_ok=True)
    with (TOOLS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def make_environment(dev: bool) -> None:
    """Try the quick ways first; a way that fails says why and leaves the field to the next."""
    STAMP.unlink(missing_ok=True)
    for way in (with_installed_uv, with_fetched_uv, with_pip):
        try:
            made = way(requirement_files(dev))
        except (OSError, subprocess.CalledProcessError, CannotFetchUv) as failure:
            print(f"{way.__name__.replace('_', ' ')}: {failure}", file=sys.stderr, flush=True)
            made = False
        if made:
            STAMP.write_text(stamp(dev))
            return
    sys.exit("The environment could not be made: no way to install packages worked.")


def with_installed_uv(files: list[Path]) -> bool:
    uv = shutil.which("uv")
    if uv is None:
        return False
    sync(uv, files)
    return True


def with_fetched_uv(files: list[Path]) -> bool:
    sync(str(fetch_uv()), files)
    return True


def with_pip(files: list[Path]) -> bool:
    shutil.rmtree(VENV, ignore_errors=True)
    subprocess.run([INTERPRETER, "-m", "venv", str(VENV)], check=True)
    pins = [word for file in files for word in ("-r", str(file))]
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", "--require-hashes", *pins]
    subprocess.run(pip, check=True)
    return True


def sync(uv: str, files: list[Path]) -> None:
    """Make .venv hold exactly what the files pin."""
    environment = uv_environment()
    shutil.rmtree(VENV, ignore_errors=True)
    subprocess.run([uv, "venv", "--quiet", "--python", INTERPRETER, str(VENV)], check=True, env=environment)
    command = [uv, "pip", "sync", "--quiet", "--require-hashes", "--python", str(VENV / "bin" / "python")]
    subprocess.run([*command, *map(str, files)], check=True, env=environment)


def uv_environment() -> dict[str, str]:
    """uv reads none of pip's configuration, so it is told the index and the certificates found there."""
    environment = os.environ | {"UV_PYTHON_DOWNLOADS": "never"}
    if index := configured_index():
        environment["UV_DEFAULT_INDEX"] = index
    if certificates := configured_certificates():
        environment["SSL_CERT_FILE"] = certificates
    if not os.access(Path.home(), os.W_OK):
        environment.setdefault("UV_CACHE_DIR", str(TOOLS / "cache"))
    return environment


def fetch_uv() -> Path:
    """The pinned uv, kept in TOOLS. Raises CannotFetchUv."""
    lock = json.loads(UV_LOCK.read_text())
    pinned = lock["wheels"].get(platform_name())
    if pinned is None:
        raise CannotFetchUv(f"no uv is pinned for {platform_name()}")
    uv = TOOLS / f"uv-{lock['version']}"
    if not uv.exists():
        page = f"{(configured_index() or default_index()).rstrip('/')}/uv/"
        wheel = fetch(find_file(page, pinned["filename"]))
        if hashlib.sha256(wheel).hexdigest() != pinned["sha256"]:
            raise CannotFetchUv(f"{pinned['filename']} is not the file that was pinned")
        program = f"uv-{lock['version']}.data/scripts/uv"
        unfinished = uv.with_suffix(".new")
        unfinished.write_bytes(zipfile.ZipFile(io.BytesIO(wheel)).read(program))
        unfinished.chmod(0o755)
        unfinished.rename(uv)
    return uv


def platform_name() -> str:
    """For example `linux-x86_64-glibc` or `darwin-arm64`: the keys of uv.lock.json."""
    system, machine = platform.system().lower(), platform.machine().lower()
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)
    if system == "linux":
        return f"linux-{machine}-{'glibc' if platform.libc_ver()[0] == 'glibc' else 'musl'}"
    return f"{system}-{machine}"


def find_file(page: str, filename: str) -> str:
    """The address of a file on a project's page, as the index gives it: JSON (PEP 691) or HTML (PEP 503)."""
    body = fetch(page, accept="application/vnd.pypi.simple.v1+json, text/html;q=0.1")
    if body.lstrip().startswith(b"{"):
        links = [str(file["url"]) for file in json.loads(body)["files"]]
    else:
        links = [html.unescape(link) for link in re.findall(r'<a[^>]+href="([^"]+)"', body.decode())]
    for link in links:
        if unquote(urlsplit(link).path).endswith(f"/{filename}"):
            return urljoin(page, link)
    raise CannotFetchUv(f"the package index has no {filename}")


def fetch(address: str, accept: str = "*/*") -> bytes:
    parts = urlsplit(address)
    headers = {"Accept": accept, "User-Agent": "parley-bootstrap"}
    if parts.username is not None:
        secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = "Basic " + base64.b64encode(secret.encode()).decode()
        address = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    request = urllib.request.Request(address, headers=headers)
    context = trust(has_secret=parts.username is not None)
    with urllib.request.urlopen(request, timeout=FETCH_TIMEOUT_S, context=context) as answer:
        body: bytes = answer.read()
    return body


def trust(has_secret: bool) -> ssl.SSLContext:
    """Whom to believe. Without any certificates nobody can be checked, but the pinned hash still checks the file."""
    context = ssl.create_default_context(cafile=configured_certificates())
    paths = ssl.get_default_verify_paths()
    known = context.cert_store_stats()["x509_ca"] or (paths.capath and any(Path(paths.capath).glob("*")))
    if not known and not has_secret:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def configured_index() -> str | None:
    """The index that the environment or pip's configuration names, if one does."""
    for variable in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"):
        if os.environ.get(variable):
            return os.environ[variable]
    return pip_option("index-url")


def default_index() -> str:
    return f"https://{'.'.join(DEFAULT_INDEX_HOST)}/simple"


def configured_certificates() -> str | None:
    """The bundle of certificates to trust that the environment, pip's configuration or this system names."""
    named = os.environ.get("SSL_CERT_FILE") or os.environ.get("PIP_CERT") or pip_option("cert")
    bundle = named or ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt"
    return bundle if Path(bundle).is_file() else None


def pip_option(name: str) -> str | None:
    configuration = configparser.RawConfigParser()
    files = [Path(file).expanduser() for file in PIP_CONFIGURATIONS]
    configuration.read([*files, *([os.environ["PIP_CONFIG_FILE"]] if "PIP_CONFIG_FILE" in os.environ else [])])
    for section in ("install", "global"):
        if configuration.has_option(section, name):
            return configuration.get(section, name).strip()
    return None


if __name__ == "__main__":
    main()
