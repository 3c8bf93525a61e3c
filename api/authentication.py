"""Which API key does a request carry? `Authorization: Bearer pk_...`, in that header and nowhere else."""

from typing import TYPE_CHECKING

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


class ApiKeyAuthentication(BaseAuthentication):
    """Puts the valid ApiKey into `request.auth`; without the header a request is anonymous."""

    def authenticate(self, request: Request) -> "tuple[AbstractUser, ApiKey] | None":
        """(None, ApiKey): keys belong to programs, there is no user. Raises Problem 400 and 401."""
        for name in _NAMES_OF_LEAKED_KEYS:
            if name in request.query_params:
                raise bad_request(
                    "An API key belongs in the Authorization header, never in a URL; replace a key sent this way.",
                    errors=[(f"?{name}", "not accepted in a URL")],
                )
        header = request.META.get("HTTP_AUTHORIZATION")
        if header is None:
            return None
        scheme, _, presented = header.partition(" ")
        if scheme.lower() != "bearer":
            raise unauthenticated("Send the header Authorization: Bearer pk_...")
        try:
            return None, find_key(presented.strip(), now=timezone.now())  # type: ignore[return-value]
        except InvalidKey:
            raise unauthenticated("The API key is unknown, expired or revoked.") from None

    def authenticate_header(self, request: Request) -> str:
        """The challenge that goes with a 401."""
        return 'Bearer realm="parley"'
