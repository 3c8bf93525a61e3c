"""Do the books hold? Every invariant of events, conversations, invoices, ledger and collection, as a query."""

from billing.books.checking import INVARIANTS, UnknownInvariant, Violation, check
from billing.books.invariant import Invariant

__all__ = ["INVARIANTS", "Invariant", "UnknownInvariant", "Violation", "check"]
