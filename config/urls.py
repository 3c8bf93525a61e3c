"""Which part of the house answers which URL."""

from django.urls import include, path
from django.views.generic import RedirectView

from api.monitoring import Metrics
from billing.views.stripe_webhook import stripe_webhook
from metering.metrics import intake_gauges

urlpatterns = [
    path("", RedirectView.as_view(url="/admin/")),
    path("admin/", include("console.urls")),
    path("v1/", include("api.urls")),
    path("v1/", include("billing.urls")),
    path("v1/", include("metering.urls")),
    path("v1/", include("plans.urls")),
    path("ingest/", include("metering.door_urls")),
    path("stripe/webhook", stripe_webhook),
    path("metrics", Metrics.as_view(gauges=[intake_gauges])),
]

handler400 = "api.problems.handler400"
handler403 = "api.problems.handler403"
handler404 = "api.problems.handler404"
handler500 = "api.problems.handler500"
