"""What does an operator look for? The filters of the lists of conversations and events."""

import datetime as dt
from typing import Any

from django import forms

from metering.models import Conversation, ConversationQuerySet
from plans.models import Customer


class Instant(forms.DateTimeField):
    """An instant, in UTC unless it says otherwise."""

    def to_python(self, value: Any) -> Any:
        instant = super().to_python(value)
        try:
            return instant and instant.astimezone(dt.UTC)
        except OverflowError as error:
            raise forms.ValidationError(self.error_messages["invalid"], code="invalid") from error


class _CustomerFilter(forms.Form):
    """Names a customer by its key; cleaned, `customer` is the customer (or None where it may be left out)."""

    customer = forms.CharField(label="Customer key", max_length=512, strip=False)

    def clean_customer(self) -> Customer | None:
        key = self.cleaned_data["customer"]
        if not key:
            return None
        found = Customer.objects.filter(key=key).first()
        if found is None:
            raise forms.ValidationError("There is no customer with this key.")
        return found


class ConversationFilter(_CustomerFilter):
    """Which conversations to list; `settled_from` (included) and `settled_to` (not) bound the settling instant."""

    customer = forms.CharField(label="Customer key", max_length=512, strip=False, required=False)
    reference = forms.CharField(label="Reference", max_length=512, strip=False, required=False)
    state = forms.ChoiceField(choices=[("", "any"), ("open", "open"), ("settled", "settled")], required=False)
    tier = forms.CharField(max_length=64, required=False)
    settled_from = Instant(label="Settled from (UTC)", required=False)
    settled_to = Instant(label="before", required=False)

    def rows(self) -> ConversationQuerySet:
        """Those that fit the filters given; those of tier and settling instant imply that it is settled."""
        given = {name: value for name, value in self.cleaned_data.items() if value}
        instant = "settled__settled_at" if "customer" in given else "settles_at"
        looked_up = {
            "customer": "customer",
            "reference": "reference",
            "settled_from": f"{instant}__gte",
            "settled_to": f"{instant}__lt",
        }
        rows = Conversation.objects.filter(**{looked_up[name]: given[name] for name in looked_up.keys() & given})
        if "tier" in given:
            rows = rows.in_tier(given["tier"])
        if given.get("state") == "open":
            rows = rows.still_open()
        if given.get("state") == "settled" or given.keys() & {"settled_from", "settled_to"}:
            rows = rows.settled_ones()
        return rows


class EventFilter(_CustomerFilter):
    """Which events to list: one customer's, all or those of a conversation reference."""

    conversation = forms.CharField(max_length=512, strip=False, required=False)
