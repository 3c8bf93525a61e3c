"""Which URLs under /ingest take what other products' clients send?"""

from django.urls import path

from metering.views import doors

urlpatterns = [
    path("litellm", doors.LiteLlm.as_view()),
    path("otlp/v1/traces", doors.OtlpTraces.as_view()),
    path("openmeter/api/v1/events", doors.OpenMeterEvents.as_view()),
    path("polar/v1/events/ingest", doors.PolarEvents.as_view()),
]
