"""`/metrics`: what Prometheus scrapes. Needs a key with the scope `read`, unless the settings open it to everybody."""

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

from django.conf import settings
from django.db import Error
from django.http import HttpResponse
from django.utils import timezone
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from rest_framework.request import Request

from api.endpoints import Endpoint, operation, require_scope
from api.metrics import CONTENT_TYPE, exposition

Gauges = Callable[[dt.datetime], Iterable[Metric]]
"""Looks figures up as of now. Whatever it asks the database has to be answered soon."""


class Metrics(Endpoint):
    """What web processes counted, and what waits in the database, in the text format of Prometheus."""

    gauges: ClassVar[Sequence[Gauges]] = ()

    @operation(
        scope=None,
        summary="Figures for Prometheus",
        description="Needs the scope `read`, unless PARLEY_METRICS_PUBLIC=1. Counters are answered without a database.",
    )
    def get(self, request: Request) -> HttpResponse:
        if not settings.METRICS_PUBLIC:
            require_scope(request, "read")
        return HttpResponse(exposition(self._looked_up()), content_type=CONTENT_TYPE)

    def _looked_up(self) -> list[Metric]:
        up = GaugeMetricFamily("parley_database_up", "Whether the gauges could be looked up.", value=1)
        try:
            return [up, *(metric for look_up in self.gauges for metric in look_up(timezone.now()))]
        except Error:
            return [GaugeMetricFamily(up.name, up.documentation, value=0)]
