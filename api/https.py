"""Did a request come by HTTPS where it has to? As Django reckons it, for the doors that stand before Django.

With PARLEY_HTTPS=1 a proxy speaks HTTPS for us and says so in a header; Django answers all else with a redirect.
"""

from django.conf import settings

PROTO = b"x-forwarded-proto"


def is_secure(forwarded_proto: bytes | None) -> bool:
    """Whether a request with this header, as it came, is as secure as this installation asks for."""
    if not settings.SECURE_SSL_REDIRECT:
        return True
    return forwarded_proto is not None and forwarded_proto.partition(b",")[0].strip() == b"https"
