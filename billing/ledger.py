"""Where is the money? Double entry, append-only: one transfer is one row with a debited and a credited account.

`transfer` and `Postings` are the only ways money moves. A transfer's key says why it is made, so that doing it twice
moves it once. An overdraft of what we owe a customer or of a grant, a payment of more than it owes, or a transfer
between two customers or currencies is impossible by constraints and a trigger. `billing.accounts` says how accounts are
locked.
"""

import datetime as dt
import uuid
from collections.abc import Iterable, Sequence

from django.db import IntegrityError, transaction

from billing.accounts import PLAIN_KINDS, Accounts, Owner, Side
from billing.copying import insert
from billing.models import Account, AccountKind, CreditNote, Grant, Invoice, Transfer
from plans.models import Customer

__all__ = [
    "PLAIN_KINDS",
    "Overdrawn",
    "Postings",
    "Side",
    "TransferDiffers",
    "balance",
    "book",
    "credit_balance",
    "grant_balances",
    "hold",
    "left_on",
    "open_account",
    "receivable",
    "reverse",
    "transfer",
]


class Overdrawn(Exception):
    """The transfer would take more from an account than it holds."""


class TransferDiffers(Exception):
    """A transfer with this key exists and says something else."""


def transfer(
    *,
    key: str,
    customer: Customer,
    currency: str,
    debit: Side,
    credit: Side,
    amount: int,
    invoice: Invoice | None,
    credit_note: CreditNote | None = None,
    at: dt.datetime,
) -> bool:
    """Move `amount` minor units once; returns whether it was moved now. Raises Overdrawn, TransferDiffers."""
    owner = (customer.pk, currency)
    accounts = _locked(owner, debit, credit)
    debited, credited = accounts.of(owner, debit), accounts.of(owner, credit)
    moved = {"debit_id": debited.id, "credit_id": credited.id, "amount": amount}
    reasons = {"invoice": invoice, "credit_note": credit_note}
    with transaction.atomic():
        made, created = Transfer.objects.get_or_create(key=key, defaults={**moved, **reasons, "posted_at": at})
        if not created:
            if (made.debit_id, made.credit_id, made.amount) != (debited.id, credited.id, amount):
                raise TransferDiffers(key)
            return False
        accounts.move(amount, debit=debited, credit=credited)
        try:
            accounts.write()
        except IntegrityError as error:
            raise Overdrawn(f"{key}: {amount} {currency} from {credit} to {debit} of {customer.key}") from error
        return True


class Postings:
    """Transfers of new invoices, made together: moved at once on accounts that are held, written in the end."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._transfers: list[Transfer] = []

    def book(self, invoice: Invoice, name: str, *, debit: Side, credit: Side, amount: int, at: dt.datetime) -> None:
        """As `ledger.book`."""
        if not amount:
            return
        owner = (invoice.customer_id, invoice.currency)
        debited, credited = self._accounts.of(owner, debit), self._accounts.of(owner, credit)
        self._accounts.move(amount, debit=debited, credit=credited)
        made = {"debit_id": debited.id, "credit_id": credited.id, "amount": amount, "posted_at": at}
        self._transfers.append(Transfer(key=_key(invoice, name), invoice=invoice, **made))

    def write(self) -> None:
        """Write what was booked, once; the invoices are there."""
        insert(self._transfers)
        self._accounts.write()


def book(invoice: Invoice, name: str, *, debit: Side, credit: Side, amount: int, at: dt.datetime) -> None:
    """Move money for an invoice, once under each name; nothing where there is nothing to move."""
    if amount:
        transfer(
            key=_key(invoice, name),
            customer=invoice.customer,
            currency=invoice.currency,
            debit=debit,
            credit=credit,
            amount=amount,
            invoice=invoice,
            at=at,
        )


def reverse(invoice: Invoice, names: Sequence[str], *, suffix: str, at: dt.datetime) -> None:
    """Mirror those of an invoice's transfers that have these names, the last one first.

    A name that ends in a colon stands for all that follow it with one word: "grant:" for the draws of all grants.
    """
    booked = invoice.transfers.select_related("debit__grant", "credit__grant").order_by("-id")
    for entry in list(booked):
        name = entry.key.removeprefix(_key(invoice, ""))
        if name in names or name.rpartition(":")[0] + ":" in names:
            debit, credit = _side(entry.credit), _side(entry.debit)
            book(invoice, f"{name}:{suffix}", debit=debit, credit=credit, amount=entry.amount, at=at)


def _key(invoice: Invoice, name: str) -> str:
    return f"invoice:{invoice.id}:{name}"


def _side(account: Account) -> Side:
    return account.grant or AccountKind(account.kind)


def hold(customer: Customer, currency: str) -> None:
    """Lock the customer's accounts until the transaction ends: nobody else moves its money meanwhile."""
    _locked((customer.pk, currency))


def credit_balance(customer: Customer, currency: str) -> int:
    """What we owe the customer, in minor units; locks its accounts, so that it can be spent."""
    owner = (customer.pk, currency)
    account = _locked(owner).of(owner, AccountKind.CREDIT)
    return account.credits - account.debits


def grant_balances(customer: Customer, currency: str, grants: Iterable[Grant]) -> dict[uuid.UUID, int]:
    """What is left of the customer's grants, in minor units by id; locks its accounts, so that it can be spent."""
    wanted, owner = list(grants), (customer.pk, currency)
    accounts = _locked(owner, *wanted)
    return {grant.pk: left_on(accounts, grant) for grant in wanted}


def left_on(accounts: Accounts, grant: Grant) -> int:
    """What is left of a grant on accounts that are locked, in minor units."""
    account = accounts.of((grant.customer_id, grant.currency), grant)
    return account.credits - account.debits


def receivable(customer: Customer, currency: str) -> int:
    """What the customer owes us, in minor units."""
    return balance(customer, currency, AccountKind.RECEIVABLE)


def balance(customer: Customer, currency: str, kind: AccountKind) -> int:
    """Debits less credits of a plain account, in minor units."""
    account = Account.objects.filter(customer=customer, kind=kind, currency=currency).first()
    return account.debits - account.credits if account else 0


def open_account(grant: Grant) -> None:
    """The account of a new grant, with nothing in it yet."""
    Account.objects.create(customer_id=grant.customer_id, kind=AccountKind.GRANT, currency=grant.currency, grant=grant)


def _locked(owner: Owner, *sides: Side) -> Accounts:
    accounts = Accounts([owner])
    accounts.read_grants(side for side in sides if isinstance(side, Grant))
    return accounts
