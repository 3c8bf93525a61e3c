"""How does a test get a Stripe of its own? A context manager that runs the stand-in in this process on a free port."""

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from sandbox.stripe_faults import Faults
from sandbox.stripe_refunds import USUAL_FAILURE, plan
from sandbox.stripe_server import StripeServer
from sandbox.stripe_store import Object
from sandbox.stripe_tax_rates import set_home, set_rate
from sandbox.stripe_webhooks import Conduct


class StripeSandbox:
    """`with StripeSandbox() as stripe: StripeClient("sk_test_x", base_addresses={"api": stripe.url})`.

    `data` keeps the state where a next one can go on (default: a temporary folder); `clock` gives seconds since 1970.
    """

    def __init__(self, data: Path | None = None, *, clock: Callable[[], float] = time.time, port: int = 0) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="stripe") if data is None else None
        folder = Path(self._temporary.name) if self._temporary else data
        assert folder is not None
        self._server = StripeServer(folder, port=port, clock=clock)
        self.url = self._server.url
        self.faults: Faults = self._server.faults

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop()
        if self._temporary:
            self._temporary.cleanup()

    def charged(self, customer_id: str) -> Object:
        """What was really charged and refunded, in minor units.

        `{"charged": {"usd": 12}, "refunded": {}, "invoices": {"in_1": {"currency", "charges", "charged", "refunded"}}}`
        """
        return self._server.store.charged(customer_id)

    def count(self, kind: str) -> int:
        """How many objects of a kind exist, for instance `invoice`."""
        return self._server.store.count(kind)

    def deliver_to(self, url: str, secret: str) -> None:
        """Sends every later event to a loopback URL, signed with the secret; raises NotLoopback."""
        self._server.courier.deliver_to(url, secret)

    def deliveries(
        self,
        *,
        duplicate: int = 0,
        shuffle: bool = False,
        delay_s: float = 0.0,
        paused: bool = False,
        seed: int = 0,
    ) -> None:
        """How webhooks are delivered from now on; without arguments: once, in order, at once."""
        self._server.courier.behave(Conduct(duplicate, shuffle, delay_s, paused, seed))

    def wait_until_delivered(self, timeout_s: float = 10.0) -> bool:
        """Whether every event was answered with 2xx in time."""
        deadline = time.monotonic() + timeout_s
        while self._server.courier.waiting():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    def decline(self, payment_method: str, decline_code: str | None) -> None:
        """From now on the card says no with that code (`insufficient_funds` ...), or yes again with None."""
        with self._server.store.transaction():
            self._server.store.set(f"card {payment_method}", decline_code or "")

    def refunds_are_born(self, status: str, *, reason: str = USUAL_FAILURE, times: int = 1) -> None:
        """The next refunds are `pending` or `failed` (for that reason) at once; raises NoSuchCourse."""
        plan(self._server.store, status, reason=reason, times=times)

    def move_refund(self, refund: str, status: str, *, reason: str = USUAL_FAILURE) -> None:
        """What was pending is now `succeeded` or `failed`, or what had succeeded has `failed`; raises NoSuchCourse."""
        self._server.till.move_refund(refund, status, reason)

    def tax(self, rates: Mapping[str, str | None] | None = None, *, home: str | None = None) -> None:
        """From now on: percentages by country (None: not collected there), and where the seller is."""
        for country, percent in (rates or {}).items():
            set_rate(self._server.store, country, percent)
        if home is not None:
            set_home(self._server.store, home)

    def move_clock(self, seconds: int) -> None:
        """Moves Stripe's own clock forward and does what it would have done by then."""
        self._server.till.move_clock(seconds)
