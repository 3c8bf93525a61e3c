"""By which rule is a sitting cut that opens at a given instant? Pure.

The rule is that of the tier scheme in force at the sitting's first event. A sitting that opens under a subscription
also ends with it: whoever leaves is billed for the conversations that are going on.
"""

import bisect
import datetime as dt
import uuid
from collections.abc import Sequence

import msgspec

EARLIEST = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
"""When the first rules come into force: before it no scheme rules, and no conversation could settle."""
LATEST = dt.datetime.max.replace(tzinfo=dt.UTC)
MICROSECOND = dt.timedelta(microseconds=1)


class Boundary(msgspec.Struct, frozen=True, gc=False):
    """The part of a tier scheme version that cuts: from `starts_at` until `ends_at`, sittings that open obey it.

    `settles_by` is the latest settling instant: the last microsecond of the subscription they open under.
    """

    starts_at: dt.datetime
    ends_at: dt.datetime | None
    version_id: uuid.UUID
    idle_timeout: dt.timedelta
    max_age: dt.timedelta
    settles_by: dt.datetime = LATEST


NEVER_ENDING = Boundary(
    EARLIEST,
    None,
    uuid.UUID(int=0),
    dt.timedelta(days=3650),
    dt.timedelta(days=3650),
)
"""A rule that never cuts: to fold what is known to be one sitting."""


class Boundaries:
    """Which boundary rule is in force when, for one customer: its own spans, else the default scheme's."""

    def __init__(self, own: Sequence[Boundary], default: Sequence[Boundary]) -> None:
        self._own = sorted(own, key=lambda span: span.starts_at)
        self._own_starts = [span.starts_at for span in self._own]
        self._default = sorted(default, key=lambda span: span.starts_at)
        self._default_starts = [span.starts_at for span in self._default]
        self._service_ends = any(span.settles_by < LATEST for span in own)

    def at(self, instant: dt.datetime) -> Boundary:
        """The rule for a sitting that opens at an instant."""
        index = bisect.bisect_right(self._own_starts, instant) - 1
        if index >= 0:
            span = self._own[index]
            if span.ends_at is None or instant < span.ends_at:
                return span
        return self._default[max(0, bisect.bisect_right(self._default_starts, instant) - 1)]

    def settles_by(self, instant: dt.datetime) -> dt.datetime:
        """The latest instant at which a sitting that opens at this one settles."""
        return self.at(instant).settles_by if self._service_ends else LATEST


def last_instant_before(service_ends_at: dt.datetime | None) -> dt.datetime:
    """The `settles_by` of a subscription that ends then (None: open)."""
    return LATEST if service_ends_at is None else service_ends_at - MICROSECOND
