"""The obvious way to take usage in: a ModelSerializer, get_or_create, and F() updates of the running sums.

Each event is a transaction of its own: in one for the whole request, two workers would deadlock on the sums of the
conversations their requests share.
"""

from typing import Any

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Greatest
from django.urls import path
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from benchmarks.obvious.models import Conversation, Customer, Event

COUNTERS = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens")


class UsageSerializer(serializers.ModelSerializer[Event]):
    class Meta:
        model = Event
        fields = COUNTERS


class EventSerializer(serializers.ModelSerializer[Event]):
    id = serializers.CharField(source="event_id", max_length=512)
    customer = serializers.SlugRelatedField(slug_field="key", queryset=Customer.objects.all())
    conversation = serializers.CharField(max_length=512)
    usage = UsageSerializer(source="*")

    class Meta:
        model = Event
        fields = ("id", "customer", "conversation", "occurred_at", "provider", "model", "turn", "usage")
        validators: list[Any] = []  # sending an event again is no mistake

    def create(self, validated_data: dict[str, Any]) -> Event:
        with transaction.atomic():
            return self._create(**validated_data)

    def _create(self, customer: Customer, event_id: str, conversation: str, **fields: Any) -> Event:
        kept, _ = Conversation.objects.get_or_create(customer=customer, reference=conversation)
        event, is_new = Event.objects.get_or_create(
            customer=customer, event_id=event_id, defaults=fields | {"conversation": kept}
        )
        if is_new:
            Conversation.objects.filter(pk=kept.pk).update(
                calls=F("calls") + 1,
                max_turn=Greatest("max_turn", fields["turn"] or 0),
                last_event_at=Greatest("last_event_at", fields["occurred_at"]),
                **{name: F(name) + fields[name] for name in COUNTERS},
            )
        return event


class Events(APIView):
    def post(self, request: Request) -> Response:
        sent = request.data.get("events", [request.data])
        serializer = EventSerializer(data=sent, many=True)
        serializer.is_valid(raise_exception=True)
        return Response({"accepted": len(serializer.save())})


urlpatterns = [path("v1/events", Events.as_view())]
