"""What is kept so that the usage of a customer with very many conversations can be read at once."""

from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import models

from plans.models import Customer


class WatchedUsage(models.Model):
    """A customer whose running usage somebody reads and who has so much of it that it is counted ahead.

    Its hours are tallied from `since` on. `going_on` are the conversations that were open at `taken_at` and would
    settle before `until`, by meter, as `meters` (plans.meters.Meters as JSON) count them.
    """

    customer = models.OneToOneField(Customer, on_delete=models.CASCADE, primary_key=True, related_name="+")
    asked_at = models.DateTimeField(help_text="When its usage was last read, give or take some minutes.")
    since = models.DateTimeField()
    until = models.DateTimeField()
    meters = models.TextField()
    going_on = models.JSONField()
    taken_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.customer_id} at {self.taken_at}"


class Tally(models.Model):
    """How many conversations of a customer settled in an hour, or a day: `counts[i]` in `tiers[i]` with `outcomes[i]`.

    It is right or it is not there: whatever changes what settled in the time deletes it.
    """

    pk = models.CompositePrimaryKey("customer_id", "hours", "start")
    customer: "models.ForeignKey[Any, Any]" = models.ForeignKey(
        Customer, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False
    )
    hours = models.SmallIntegerField(choices=[(1, "an hour"), (24, "a day")])
    start = models.DateTimeField(help_text="Of the hour or day, UTC.")
    tiers = ArrayField(models.TextField())
    outcomes = ArrayField(models.TextField(null=True))
    counts = ArrayField(models.IntegerField())

    def __str__(self) -> str:
        return f"{self.customer_id}: {self.hours} h from {self.start}"
