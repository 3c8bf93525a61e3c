"""Which part of the house answers which URL."""

from django.urls import include, path
from django.views.generic import RedirectView

from billing.views.stripe_webhook import stripe_webhook

urlpatterns = [
    path("", RedirectView.as_view(url="/admin/")),
    path("admin/", include("console.urls")),
    path("v1/", include("api.urls")),
    path("v1/", include("billing.urls")),
    path("v1/", include("metering.urls")),
    path("v1/", include("plans.urls")),
    path("stripe/webhook", stripe_webhook),
]

handler400 = "api.problems.handler400"
handler403 = "api.problems.handler403"
handler404 = "api.problems.handler404"
handler500 = "api.problems.handler500"
