"""The obvious tables: customers, their conversations with running sums, and events pointing to both."""

from django.db import models


class Customer(models.Model):
    key = models.CharField(max_length=512, unique=True)

    def __str__(self) -> str:
        return self.key


class Conversation(models.Model):
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT)
    reference = models.CharField(max_length=512)
    calls = models.IntegerField(default=0)
    input_tokens = models.BigIntegerField(default=0)
    cache_read_tokens = models.BigIntegerField(default=0)
    cache_write_tokens = models.BigIntegerField(default=0)
    output_tokens = models.BigIntegerField(default=0)
    max_turn = models.IntegerField(default=0)
    last_event_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["customer", "reference"], name="obvious_conversation_once")]

    def __str__(self) -> str:
        return self.reference


class Event(models.Model):
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT)
    event_id = models.CharField(max_length=512)
    conversation = models.ForeignKey(Conversation, on_delete=models.PROTECT)
    occurred_at = models.DateTimeField()
    received_at = models.DateTimeField(auto_now_add=True)
    provider = models.CharField(max_length=200)
    model = models.CharField(max_length=200)
    turn = models.IntegerField(null=True)
    input_tokens = models.IntegerField()
    cache_read_tokens = models.IntegerField()
    cache_write_tokens = models.IntegerField()
    output_tokens = models.IntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["customer", "event_id"], name="obvious_event_once")]

    def __str__(self) -> str:
        return self.event_id
