"""Which page answers which URL under /admin/? Ours for events and conversations, then those of Django's admin."""

from django.urls import path

from console import views
from console.admin_site import site

urlpatterns = [
    path("conversations/", site.admin_view(views.conversations), name="conversations"),
    path("conversations/<uuid:conversation_id>/", site.admin_view(views.one_conversation), name="conversation"),
    path("events/", site.admin_view(views.events), name="events"),
    path("events/one/", site.admin_view(views.one_event), name="event"),
    path("late-changes/", site.admin_view(views.late_changes), name="late_changes"),
    path("", site.urls),
]
