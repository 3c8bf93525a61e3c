"""Where is the money? Double entry, append-only: one transfer is one row with a debited and a credited account.

`transfer` is the only way money moves. Its key says why, so that doing it twice moves it once. An overdraft of what we
owe a customer, or a payment of more than it owes, is impossible by CHECK constraints on the accounts.
"""

import datetime as dt
from collections.abc import Sequence

from django.db import IntegrityError, transaction
from django.db.models import F

from billing.models import Account, AccountKind, Invoice, Transfer
from plans.models import Customer


class Overdrawn(Exception):
    """The transfer would take more from an account than it holds."""


class TransferDiffers(Exception):
    """A transfer with this key exists and says something else."""


def transfer(
    *,
    key: str,
    customer: Customer,
    currency: str,
    debit: AccountKind,
    credit: AccountKind,
    amount: int,
    invoice: Invoice | None,
    at: dt.datetime,
) -> bool:
    """Move `amount` minor units once; returns whether it was moved now. Raises Overdrawn, TransferDiffers."""
    debited, credited = _locked_accounts(customer, currency, debit, credit)
    with transaction.atomic():
        entry, created = Transfer.objects.get_or_create(
            key=key,
            defaults={"debit": debited, "credit": credited, "amount": amount, "invoice": invoice, "posted_at": at},
        )
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


def book(invoice: Invoice, name: str, *, debit: AccountKind, credit: AccountKind, amount: int, at: dt.datetime) -> None:
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
    """Mirror those of an invoice's transfers that have these names, the last one first."""
    booked = invoice.transfers.filter(key__in=[_key(invoice, name) for name in names])
    for entry in list(booked.select_related("debit", "credit").order_by("-id")):
        name = entry.key.removeprefix(_key(invoice, ""))
        debit, credit = AccountKind(entry.credit.kind), AccountKind(entry.debit.kind)
        book(invoice, f"{name}:{suffix}", debit=debit, credit=credit, amount=entry.amount, at=at)


def _key(invoice: Invoice, name: str) -> str:
    return f"invoice:{invoice.id}:{name}"


def credit_balance(customer: Customer, currency: str) -> int:
    """What we owe the customer, in minor units; locks the account, so that it can be spent."""
    (account,) = _locked_accounts(customer, currency, AccountKind.CREDIT)
    return account.credits - account.debits


def receivable(customer: Customer, currency: str) -> int:
    """What the customer owes us, in minor units."""
    account = Account.objects.filter(customer=customer, kind=AccountKind.RECEIVABLE, currency=currency).first()
    return account.debits - account.credits if account else 0


def _locked_accounts(customer: Customer, currency: str, *kinds: AccountKind) -> list[Account]:
    """The customer's accounts of these kinds, locked until the transaction ends.

    Always all of its accounts, made together and locked in one order: two transactions that move the customer's money
    between different accounts, in whatever order, queue and do not deadlock.
    """
    by_kind = _lock_all(customer, currency)
    if len(by_kind) < len(AccountKind):
        _create_missing(customer, currency)
        by_kind = _lock_all(customer, currency)
    return [by_kind[kind] for kind in kinds]


def _lock_all(customer: Customer, currency: str) -> dict[str, Account]:
    rows = Account.objects.filter(customer=customer, currency=currency).order_by("pk").select_for_update()
    return {account.kind: account for account in rows}


def _create_missing(customer: Customer, currency: str) -> None:
    Account.objects.bulk_create(
        [Account(customer=customer, kind=kind, currency=currency) for kind in AccountKind], ignore_conflicts=True
    )
