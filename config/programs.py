"""Which programs make up a served Parley, and at which addresses do they meet?"""

import json
import os
import secrets
import shutil
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from config.processes import ROOT, Program, marked_environment

LOOPBACK = "127.0.0.1"
WORKER_PROCESSES = 2
SANDBOX_KEY = "sk_test_sandbox"
ADDRESS_FILE = "serve.json"
PROTOCOL = "config.event_protocol:EventProtocol"


class PortTaken(Exception):
    """Another program listens on the port."""


@dataclass(frozen=True)
class Addresses:
    """Where the served programs listen; `stripe_url` is None where the real Stripe is used."""

    data_dir: Path
    url: str
    port: int
    stripe_port: int | None

    @property
    def stripe_url(self) -> str | None:
        return None if self.stripe_port is None else f"http://{LOOPBACK}:{self.stripe_port}"

    def publish(self) -> None:
        """Write down the addresses for other commands that work on the same data directory."""
        unfinished = self.data_dir / f"{ADDRESS_FILE}.new"
        unfinished.write_text(json.dumps({"url": self.url, "stripe_url": self.stripe_url}))
        unfinished.rename(self.data_dir / ADDRESS_FILE)

    def withdraw(self) -> None:
        (self.data_dir / ADDRESS_FILE).unlink(missing_ok=True)


def choose_addresses(data_dir: Path, port: int) -> Addresses:
    """The addresses for a web server at `port` (0: a free one). Raises PortTaken."""
    port = free_port(port)
    stripe_port = None if os.environ.get("STRIPE_API_KEY") else free_port(0)
    return Addresses(data_dir=data_dir, url=f"http://{LOOPBACK}:{port}", port=port, stripe_port=stripe_port)


def free_port(port: int) -> int:
    """The port itself, or a free one for 0. Raises PortTaken, as the web server itself would share a taken port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as refusal:
            raise PortTaken(f"port {port} cannot be used: {refusal.strerror}") from refusal
        return int(probe.getsockname()[1])


def programs(addresses: Addresses, *, web_workers: int) -> list[Program]:
    """What is to run, first things first."""
    environment = marked_environment(addresses.data_dir)
    environment.setdefault("PARLEY_SECRET_KEY", kept_secret(addresses.data_dir, "secret_key"))
    environment["PARLEY_WEB_WORKERS"] = str(web_workers)
    environment["PROMETHEUS_MULTIPROC_DIR"] = str(_emptied(addresses.data_dir / "metrics"))
    logs = addresses.data_dir / "logs"
    logs.mkdir(exist_ok=True)
    started: list[Program] = []
    if addresses.stripe_port is not None:
        secret = f"whsec_{kept_secret(addresses.data_dir, 'stripe_webhook_secret')}"
        command = stripe_stand_in(addresses, secret)
        started.append(Program("Stripe stand-in", command, environment, logs / "stripe.log"))
        environment = environment | {
            "STRIPE_API_BASE": f"{addresses.stripe_url}",
            "STRIPE_API_KEY": SANDBOX_KEY,
            "STRIPE_WEBHOOK_SECRET": secret,
        }
    started.append(Program("web server", web_server(addresses, web_workers), environment, logs / "web.log"))
    started.append(Program("folder", folder(), environment, logs / "folder.log"))
    started.append(Program("worker", worker(addresses), environment, logs / "worker.log"))
    return started


def _emptied(directory: Path) -> Path:
    """What processes that have ended counted says nothing about this run."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    return directory


def web_server(addresses: Addresses, workers: int) -> list[str]:
    """One event loop a process."""
    return python_module(
        *("uvicorn", "--host", LOOPBACK, "--port", str(addresses.port), "--workers", str(workers)),
        *("--loop", "uvloop", "--http", PROTOCOL, "--ws", "none", "--lifespan", "off"),
        *("--no-access-log", "--no-server-header", "--no-proxy-headers"),
        *("--log-level", "warning", "--timeout-graceful-shutdown", "4", "--timeout-worker-healthcheck", "30"),
        "config.asgi:application",
    )


def folder() -> list[str]:
    """What puts stored events into their conversations."""
    return [sys.executable, str(ROOT / "manage.py"), "fold"]


def worker(addresses: Addresses) -> list[str]:
    """The background worker with the scheduler inside. There is one of it, so it need not look for its like."""
    return python_module(
        *("celery", "--app", "config.celery", "--quiet", "worker", "--beat", "--loglevel", "WARNING"),
        *("--schedule", str(addresses.data_dir / "celerybeat-schedule"), "--concurrency", str(WORKER_PROCESSES)),
        *("--without-gossip", "--without-mingle", "--without-heartbeat"),
    )


def stripe_stand_in(addresses: Addresses, secret: str) -> list[str]:
    state = addresses.data_dir / "stripe"
    state.mkdir(exist_ok=True)
    return python_module(
        *("sandbox.stripe_server", "--data", str(state), "--port", str(addresses.stripe_port)),
        *("--port-file", str(state / "port"), "--webhook-url", f"{addresses.url}/stripe/webhook"),
        *("--webhook-secret", secret),
    )


def python_module(*words: str) -> list[str]:
    return [sys.executable, "-m", *words]


def kept_secret(data_dir: Path, name: str) -> str:
    """A random secret, made once for a data directory and kept there."""
    file = data_dir / name
    if not file.exists():
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as written:
            written.write(secrets.token_hex(32))
    return file.read_text()
