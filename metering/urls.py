"""Which URLs under /v1 answer what happened?"""

from django.urls import path

from metering.views import conversations, events

urlpatterns = [
    path("events", events.Events.as_view()),
    path("events/<path:event_id>/void", events.VoidedEvent.as_view()),
    path("events/<path:event_id>/amend", events.AmendedEvent.as_view()),
    path("conversations", conversations.Conversations.as_view()),
    path("conversations/close", events.ClosedConversation.as_view()),
    path("conversations/<uuid:conversation_id>", conversations.OneConversation.as_view()),
]
