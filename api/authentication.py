"""Which API key does a request carry? `Authorization: Bearer pk_...`, in that header and nowhere else."""

from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from api.keys import InvalidKey, find_key
from api.models import ApiKey
from api.problems import bad_request, unauthenticated

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractUser

# URLs end up in logs, histories and Referer headers: a key sent there is leaked, and is to be noticed as such.
_NAMES_OF_LEAKED_KEYS = ("api_key", "key")


def authenticate(authorization: str | None, query: str, *, now: datetime) -> ApiKey | None:
    """The valid key of a request with this Authorization header and query string; None without the header.

    Raises Problem 400 for a key in the URL and 401 for one that is not valid.
    """
    if query:
        _refuse_leaked_keys(query)
    if authorization is None:
        return None
    scheme, _, presented = authorization.partition(" ")
    if scheme.lower() != "bearer":
        raise unauthenticated("Send the header Authorization: Bearer pk_...")
    try:
        return find_key(presented.strip(), now=now)
    except InvalidKey:
        raise unauthenticated("The API key is unknown, expired or revoked.") from None


def _refuse_leaked_keys(query: str) -> None:
    parameters = parse_qs(query, keep_blank_values=True)
    for name in _NAMES_OF_LEAKED_KEYS:
        if name in parameters:
            raise bad_request(
                "An API key belongs in the Authorization header, never in a URL; replace a key sent this way.",
                errors=[(f"?{name}", "not accepted in a URL")],
            )


class ApiKeyAuthentication(BaseAuthentication):
    """Puts the valid ApiKey into `request.auth`; without the header a request is anonymous."""

    def authenticate(self, request: Request) -> "tuple[AbstractUser, ApiKey] | None":
        """(None, ApiKey): keys belong to programs, there is no user. Raises Problem 400 and 401."""
        header, query = request.META.get("HTTP_AUTHORIZATION"), request.META.get("QUERY_STRING", "")
        key = authenticate(header, query, now=timezone.now())
        return None if key is None else (None, key)  # type: ignore[return-value]

    def authenticate_header(self, request: Request) -> str:
        """The challenge that goes with a 401."""
        return 'Bearer realm="parley"'
