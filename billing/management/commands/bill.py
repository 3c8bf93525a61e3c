"""`manage.py bill --as-of T`: settle, invoice every period that is over at T, see to the wallets, and collect."""

import os
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from tqdm import tqdm

from api.instants import add_as_of
from billing.billing import bill
from billing.expiring import expire_grants
from billing.models import Invoice
from billing.stripe_gateway import StripeNotConfigured
from billing.tasks import AT_STRIPE
from billing.topping_up import top_up_due
from plans.money import format_amount

MOST_PROCESSES = 16
"""Each has a connection, and all wait for each other at the invoice number."""


class Command(BaseCommand):
    help = "Settle what is due, invoice every period that is over, see to the wallets, and take it all to Stripe."

    def add_arguments(self, parser: CommandParser) -> None:
        add_as_of(parser)
        parser.add_argument(
            "--processes",
            type=int,
            choices=range(1, MOST_PROCESSES + 1),
            metavar=f"1-{MOST_PROCESSES}",
            default=min(os.cpu_count() or 1, MOST_PROCESSES),
            help="how many share the work where there is much (default: as many as there are processors)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        with tqdm(desc="invoiced", unit=" invoices", disable=None) as bar:
            run = bill(as_of=options["as_of"], now=timezone.now(), processes=options["processes"], progress=bar.update)
        self.stdout.write(f"{run.settled:,} conversations settled, {len(run.invoices):,} invoices")
        for invoice in Invoice.objects.filter(pk__in=run.invoices).select_related("customer").order_by("number"):
            total = format_amount(invoice.total, invoice.currency)
            self.stdout.write(f"  {invoice}  {invoice.customer}  {invoice.kind}  {total} {invoice.currency}")
        expire_grants(as_of=options["as_of"], now=timezone.now())
        top_up_due(as_of=options["as_of"], now=timezone.now())
        self._collect()
        if run.failed:
            raise CommandError(f"{run.failed} subscriptions could not be billed; the log and their schedule say why")

    def _collect(self) -> None:
        try:
            with tqdm(desc="taken to Stripe", unit="", disable=None) as bar:
                for sweep in AT_STRIPE:
                    while taken := sweep(now=timezone.now()):
                        bar.update(taken)
        except StripeNotConfigured as error:
            self.stdout.write(f"Not collected: {error}. The invoices wait.")
