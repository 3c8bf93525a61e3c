"""Where is the money? Accounts, and the transfers between them."""

from django.db import models
from django.db.models import F, Q

from api.ids import uuid7
from billing.models.credit_notes import CreditNote
from billing.models.invoices import Invoice
from billing.models.wallets import Grant
from plans.models import Customer


class AccountKind(models.TextChoices):
    RECEIVABLE = "receivable", "what the customer owes us"
    REVENUE = "revenue", "what we have earned from the customer"
    TAX = "tax", "what we owe the state for the customer"
    CASH = "cash", "what Stripe has collected from the customer"
    BANK = "bank", "what the customer has paid outside of Stripe"
    CREDIT = "credit", "what we owe the customer"
    REFUND = "refund", "what is on its way back to the customer"
    GRANT = "grant", "what is left of one grant"
    PENDING = "pending", "prepaid credit that is invoiced and not paid yet"
    PROMOTION = "promotion", "promotional credit given and not used up"
    BREAKAGE = "breakage", "prepaid credit that expired unused"
    CARRIED = "carried", "what Stripe has carried over to the customer's next invoice there"
    BAD_DEBT = "bad_debt", "what the customer will never pay"


class Account(models.Model):
    """One account of the ledger; its balance is the difference of everything ever debited and credited."""

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=10, choices=AccountKind)
    currency = models.CharField(max_length=3)
    grant = models.OneToOneField(Grant, on_delete=models.PROTECT, null=True, related_name="account")
    debits = models.BigIntegerField(default=0)
    credits = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["customer", "kind", "currency"], name="account_once", condition=Q(grant__isnull=True)
            ),
            models.CheckConstraint(
                condition=Q(kind="grant", grant__isnull=False) | ~Q(kind="grant") & Q(grant__isnull=True),
                name="account_of_a_grant_or_none",
            ),
            models.CheckConstraint(
                condition=~Q(kind__in=["credit", "grant", "refund"]) | Q(credits__gte=F("debits")),
                name="account_credit_never_overdrawn",
            ),
            models.CheckConstraint(
                condition=~Q(kind="receivable") | Q(debits__gte=F("credits")), name="account_never_overpaid"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.currency} of {self.customer}"


class Transfer(models.Model):
    """Money moved once from the credited to the debited account; `key` names the reason and makes a retry harmless."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    key = models.CharField(max_length=200, unique=True)
    debit = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="debit_transfers")
    credit = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="credit_transfers")
    amount = models.BigIntegerField()
    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, null=True, related_name="transfers")
    credit_note = models.ForeignKey(CreditNote, on_delete=models.PROTECT, null=True, related_name="transfers")
    posted_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=0), name="transfer_moves_something"),
            models.CheckConstraint(condition=~Q(debit=F("credit")), name="transfer_has_two_sides"),
        ]

    def __str__(self) -> str:
        return self.key
