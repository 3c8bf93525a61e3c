"""Which URLs under /v1 belong to no floor in particular?"""

from django.urls import path

from api import reference

urlpatterns = [
    path("openapi.json", reference.openapi, name="openapi"),
    path("docs", reference.docs, name="docs"),
]
