"""Who is calling? API keys: made, found and revoked.

A key reads `pk_<lookup id>_<secret>`. The lookup id finds the row, the secret (256 bits from the system's random
source) is compared by its SHA-256 in constant time. The plain key exists once, as the answer of `create_key`.
"""

import re
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from hashlib import sha256

from api.models import SCOPES, ApiKey
from api.rate_limits import UNLIMITED, RateLimit

# Longest time between a revocation and its effect in other processes.
CACHED_FOR = timedelta(seconds=1)
_CACHE_LIMIT = 1_000

_SHAPE = re.compile(r"pk_([0-9a-f]{16})_([0-9a-f]{64})")
_cache: dict[str, tuple[datetime, ApiKey]] = {}


class InvalidKey(Exception):
    """What was presented is no key, or one that is unknown, expired or revoked; deliberately not said which."""


class UnknownScope(ValueError):
    """A scope that does not exist was asked for."""


class TooMuchForOneCustomer(ValueError):
    """A key bound to one customer may report for that customer and do nothing else."""


def create_key(
    name: str,
    scopes: Iterable[str],
    *,
    customer_key: str | None = None,
    expires_at: datetime | None = None,
    rate_limit: RateLimit = UNLIMITED,
    now: datetime,
) -> tuple[ApiKey, str]:
    """A new key and its plain text, which is not kept.

    `customer_key` binds it to a customer, for whom alone it may then report usage. Rates that `rate_limit` leaves open
    are those of the settings. Raises UnknownScope, TooMuchForOneCustomer.
    """
    wanted = set(scopes)
    if not wanted <= set(SCOPES):
        raise UnknownScope(f"unknown scopes: {', '.join(sorted(wanted - set(SCOPES)))}; there are {', '.join(SCOPES)}")
    if customer_key is not None and wanted != {"ingest"}:
        raise TooMuchForOneCustomer("a key bound to a customer can have the scope ingest only")
    lookup_id, secret = secrets.token_hex(8), secrets.token_hex(32)
    key = ApiKey.objects.create(
        name=name,
        lookup_id=lookup_id,
        secret_sha256=_digest(secret),
        scopes=[scope for scope in SCOPES if scope in wanted],
        customer_key=customer_key,
        created_at=now,
        expires_at=expires_at,
        **rate_limit._asdict(),
    )
    return key, f"pk_{lookup_id}_{secret}"


def find_key(presented: str, *, now: datetime) -> ApiKey:
    """The key that was presented, if it is valid at `now`; raises InvalidKey."""
    shape = _SHAPE.fullmatch(presented)
    key = _look_up(shape[1], now) if shape else None
    if shape is None or key is None or not secrets.compare_digest(bytes(key.secret_sha256), _digest(shape[2])):
        raise InvalidKey
    if key.revoked_at is not None and key.revoked_at <= now:
        raise InvalidKey
    if key.expires_at is not None and key.expires_at <= now:
        raise InvalidKey
    return key


def revoke_key(key: ApiKey, *, now: datetime) -> None:
    """Ends a key: at once in this process, within `CACHED_FOR` in all others. The first revocation counts."""
    ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=now)
    _cache.pop(key.lookup_id, None)


def _look_up(lookup_id: str, now: datetime) -> ApiKey | None:
    read_at, key = _cache.get(lookup_id, (None, None))
    if read_at is not None and timedelta(0) <= now - read_at < CACHED_FOR:
        return key
    key = ApiKey.objects.filter(lookup_id=lookup_id).first()
    if key is None:
        _cache.pop(lookup_id, None)
        return None
    if len(_cache) >= _CACHE_LIMIT:
        _cache.clear()
    _cache[lookup_id] = (now, key)
    return key


def _digest(secret: str) -> bytes:
    return sha256(secret.encode()).digest()
