"""An operator's own price is appended and wins; nothing about a price is ever changed."""

from django.urls import reverse

from metering.models import Event, SupplierRate
from tests.cast import acme, report, send
from tests.console.test_access import row_url

ADD = "/admin/metering/supplierrate/add/"
PRICE = {
    "provider": "nobody",
    "model": "unpriced-1",
    "starts_at_0": "2026-01-01",
    "starts_at_1": "00:00:00",
    "min_context": "0",
    "input_usd_per_million": "1.50",
    "cache_read_usd_per_million": "0.15",
    "cache_write_usd_per_million": "1.50",
    "output_usd_per_million": "6",
}


def test_an_added_rate_is_the_operators_and_prices_the_next_call(desk):
    assert desk.post(ADD, PRICE).status_code == 302
    assert SupplierRate.objects.get().source == "operator"
    acme()
    send([report()])
    assert Event.objects.get().cost_nanos == 900 * 1_500 + 100 * 6_000


def test_the_cost_of_a_call_is_written_in_dollars(desk):
    desk.post(ADD, PRICE)
    acme()
    send([report()])
    body = desk.get(reverse("event"), {"customer": "acme", "id": "e1"}).content.decode()
    assert "0.00195 USD" in body
    assert row_url(SupplierRate.objects.get()) in body


def test_the_same_price_step_is_not_added_twice(desk):
    desk.post(ADD, PRICE)
    answer = desk.post(ADD, PRICE | {"input_usd_per_million": "9"})
    assert b"already exists" in answer.content
    assert SupplierRate.objects.count() == 1


def test_half_a_daily_window_and_negative_prices_are_refused(desk):
    assert b"errornote" in desk.post(ADD, PRICE | {"daily_from": "08:00"}).content
    assert b"errornote" in desk.post(ADD, PRICE | {"output_usd_per_million": "-1"}).content


def test_a_rate_is_never_changed_or_deleted(desk):
    desk.post(ADD, PRICE)
    rate = SupplierRate.objects.get()
    assert desk.post(row_url(rate), PRICE | {"model": "other"}).status_code == 403
    assert desk.post(row_url(rate, "delete"), {"post": "yes"}).status_code == 403


def test_staff_without_permission_adds_no_rate(looker):
    assert looker.post(ADD, PRICE).status_code == 403
