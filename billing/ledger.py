"""Where is the money? Double entry, append-only: one transfer is one row with a debited and a credited account.

`transfer` is the only way money moves. Its key says why, so that doing it twice moves it once. A customer has one plain
account of each kind in a currency, and one account for each of its grants. An overdraft of what we owe a customer or of
a grant, a payment of more than it owes, or a transfer between two customers or currencies is impossible by constraints
and a trigger.

Whoever moves a customer's money locks first all of its plain accounts in that currency, in the order of their ids, and
then the accounts of the grants it needs, in the order of theirs. So two transactions queue before the first lock and
cannot deadlock, whatever they move. Rows that are locked besides come before them (invoices, rules) or after (grants).
"""

import datetime as dt
import uuid
from collections.abc import Iterable, Sequence

from django.db import IntegrityError, transaction
from django.db.models import F

from billing.models import Account, AccountKind, CreditNote, Grant, Invoice, Transfer
from plans.models import Customer

Side = AccountKind | Grant
"""An account of the customer: the plain one of a kind, or that of a grant."""

PLAIN_KINDS = tuple(kind for kind in AccountKind if kind != AccountKind.GRANT)


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
    debited, credited = _locked_accounts(customer, currency, debit, credit)
    moved = {"debit": debited, "credit": credited, "amount": amount}
    reasons = {"invoice": invoice, "credit_note": credit_note}
    with transaction.atomic():
        entry, created = Transfer.objects.get_or_create(key=key, defaults={**moved, **reasons, "posted_at": at})
        if not created:
            if (entry.debit_id, entry.credit_id, entry.amount) != (debited.pk, credited.pk, amount):
                raise TransferDiffers(key)
            return False
        try:
            Account.objects.filter(pk=debited.pk).update(debits=F("debits") + amount)
            Account.objects.filter(pk=credited.pk).update(credits=F("credits") + amount)
        except IntegrityError as error:
            raise Overdrawn(f"{key}: {amount} {currency} from {credit} to {debit} of {customer.key}") from error
        return True


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
    """Lock the customer's plain accounts until the transaction ends: nobody else moves its money meanwhile."""
    _locked_accounts(customer, currency)


def credit_balance(customer: Customer, currency: str) -> int:
    """What we owe the customer, in minor units; locks the account, so that it can be spent."""
    (account,) = _locked_accounts(customer, currency, AccountKind.CREDIT)
    return account.credits - account.debits


def grant_balances(customer: Customer, currency: str, grants: Iterable[Grant]) -> dict[uuid.UUID, int]:
    """What is left of the customer's grants, in minor units by id; locks their accounts, so that it can be spent."""
    wanted = list(grants)
    accounts = _locked_accounts(customer, currency, *wanted)
    return {grant.pk: account.credits - account.debits for grant, account in zip(wanted, accounts, strict=True)}


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


def _locked_accounts(customer: Customer, currency: str, *sides: Side) -> list[Account]:
    """The customer's accounts on these sides, locked until the transaction ends; in the order that the module names."""
    by_kind = _lock_plain(customer, currency)
    if len(by_kind) < len(PLAIN_KINDS):
        _create_missing(customer, currency)
        by_kind = _lock_plain(customer, currency)
    by_grant = _lock_grants([side for side in sides if isinstance(side, Grant)])
    return [by_grant[side.pk] if isinstance(side, Grant) else by_kind[side] for side in sides]


def _lock_plain(customer: Customer, currency: str) -> dict[str, Account]:
    rows = Account.objects.filter(customer=customer, currency=currency, grant=None)
    return {account.kind: account for account in rows.order_by("pk").select_for_update()}


def _lock_grants(grants: Sequence[Grant]) -> dict[uuid.UUID | None, Account]:
    if not grants:
        return {}
    rows = Account.objects.filter(grant__in=grants).order_by("pk").select_for_update()
    return {account.grant_id: account for account in rows}


def _create_missing(customer: Customer, currency: str) -> None:
    Account.objects.bulk_create(
        [Account(customer=customer, kind=kind, currency=currency) for kind in PLAIN_KINDS], ignore_conflicts=True
    )
