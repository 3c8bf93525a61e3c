"""Where can the API be read about? `/v1/openapi.json`, and `/v1/docs`, the same to browse; both without a key."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from api.openapi import document

# Swagger UI sets style attributes; scripts come from our own files only.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'"
)


@require_safe
def openapi(request: HttpRequest) -> HttpResponse:
    """The OpenAPI 3.1 document."""
    return HttpResponse(document(), content_type="application/json", headers={"Cache-Control": "max-age=60"})


@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    """Swagger UI, from static files served here."""
    response = render(request, "api/docs.html")
    response["Content-Security-Policy"] = _POLICY
    return response
