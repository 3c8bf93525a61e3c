"""Which URLs under /v1 answer what happened?"""

from django.urls import path

from metering.views import backfills, conversations, corrections, events, quarantine

urlpatterns = [
    path("events", events.Events.as_view()),
    path("events/<path:event_id>/void", corrections.VoidedEvent.as_view()),
    path("events/<path:event_id>/amend", corrections.AmendedEvent.as_view()),
    path("events/<path:event_id>/corrections", corrections.CorrectionsOfEvent.as_view()),
    path("quarantine", quarantine.Quarantine.as_view()),
    path("quarantine/replay", quarantine.ReplayedItems.as_view()),
    path("quarantine/<uuid:item_id>", quarantine.QuarantineItem.as_view()),
    path("quarantine/<uuid:item_id>/replay", quarantine.ReplayedItem.as_view()),
    path("quarantine/<uuid:item_id>/discard", quarantine.DiscardedItem.as_view()),
    path("backfills", backfills.Backfills.as_view()),
    path("backfills/<uuid:backfill_id>", backfills.OneBackfill.as_view()),
    path("backfills/<uuid:backfill_id>/rejects.csv", backfills.BackfillRejects.as_view()),
    path("backfills/<uuid:backfill_id>/undo", backfills.UndoneBackfill.as_view()),
    path("conversations", conversations.Conversations.as_view()),
    path("conversations/close", events.ClosedConversation.as_view()),
    path("conversations/<uuid:conversation_id>", conversations.OneConversation.as_view()),
]
