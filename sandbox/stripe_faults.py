"""How does the stand-in misbehave when told to? Faults planned for the next requests, or drawn from a seed."""

import random
import threading
from collections.abc import Iterable
from dataclasses import dataclass

# What each fault does. "Before" means that nothing was carried out or stored under the idempotency key.
FAULTS = {
    "reset-before": "the connection is reset before anything happened",
    "500-before": "500, nothing happened",
    "502-html": "a proxy's HTML page with status 502, nothing happened",
    "503": "503 with Retry-After, nothing happened",
    "429": "429 rate_limit with Retry-After, answered before the idempotency store",
    "429-lock-timeout": "429 with code lock_timeout, nothing happened",
    "409": "409 idempotency_key_in_use, as if the same key were in flight",
    "500-should-retry-false": "500 with Stripe-Should-Retry: false, nothing happened",
    "402-card-declined": "every card says no during this request",
    "slow": "waits `seconds` while the key is in flight, then carries out and answers",
    "ok-then-reset": "carried out, the connection is reset instead of an answer",
    "ok-then-timeout": "carried out, no answer for `seconds`, then the connection is closed",
    "ok-then-500": "carried out, the client sees 500, a replay of the key gives the true answer",
    "ok-but-500-stored": "carried out, 500 is stored under the key and replayed for ever",
    "truncated-json": "carried out, half of the body arrives",
    "duplicate-header": "carried out, every header arrives twice",
    "list-lags": "carried out, what was created shows in lists only 60 seconds later",
}


@dataclass(frozen=True)
class Fault:
    """One misbehaviour; `seconds` is how long those wait that wait."""

    kind: str
    seconds: float = 1.0


@dataclass
class _Plan:
    operation: str
    fault: Fault
    left: int


class UnknownFault(Exception):
    """The named fault does not exist."""


class Faults:
    """What will go wrong next. Not stored: a restarted stand-in behaves."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._plans: list[_Plan] = []
        self._dice: tuple[random.Random, float, tuple[str, ...]] | None = None
        self.happened: list[tuple[str, str]] = []  # (operation, fault), in order

    def plan(self, operation: str, fault: str, *, times: int = 1, seconds: float = 1.0) -> None:
        """The next `times` requests of an operation (`POST /v1/invoices/{invoice}/pay`; `*` for any) go wrong."""
        if fault not in FAULTS:
            raise UnknownFault(fault)
        with self._lock:
            self._plans.append(_Plan(_shape(operation), Fault(fault, seconds), times))

    def draw_from(self, seed: int, rate: float, kinds: Iterable[str] = ()) -> None:
        """From now on each request goes wrong with probability `rate`; the same seed gives the same sequence."""
        chosen = tuple(sorted(kinds)) or tuple(sorted(FAULTS))
        for kind in chosen:
            if kind not in FAULTS:
                raise UnknownFault(kind)
        with self._lock:
            self._dice = (random.Random(seed), rate, chosen)

    def clear(self) -> None:
        """Behave from now on."""
        with self._lock:
            self._plans.clear()
            self._dice = None

    def next_for(self, operation: str) -> Fault | None:
        """The fault of this request, used up by asking."""
        with self._lock:
            fault = self._planned(operation) or self._drawn()
            if fault is not None:
                self.happened.append((operation, fault.kind))
            return fault

    def _planned(self, operation: str) -> Fault | None:
        for plan in self._plans:
            if plan.operation in ("*", _shape(operation)):
                plan.left -= 1
                self._plans = [waiting for waiting in self._plans if waiting.left > 0]
                return plan.fault
        return None

    def _drawn(self) -> Fault | None:
        if self._dice is None:
            return None
        dice, rate, kinds = self._dice
        return Fault(dice.choice(kinds), 0.05) if dice.random() < rate else None


def _shape(operation: str) -> str:
    """`POST /v1/invoices/{any}/pay`: the names of placeholders do not matter."""
    return "/".join("{}" if step.startswith("{") else step for step in operation.split("/"))
