import json
import urllib.request

import pytest
import stripe

from tests.sandbox.stripe_cast import taxed

VAT_ID = {"type": "eu_vat", "value": "DE123456789"}


def how(calculation) -> tuple[str, str, int, int]:
    """Why so much: reason, rate, tax and what it is on."""
    (found,) = calculation.tax_breakdown
    return found.taxability_reason, found.tax_rate_details.percentage_decimal, found.amount, found.taxable_amount


def test_exclusive_tax_comes_on_top(client):
    calculation = taxed(client, 6500)
    assert (calculation.tax_amount_exclusive, calculation.tax_amount_inclusive) == (1235, 0)
    assert (calculation.amount_total, how(calculation)) == (7735, ("standard_rated", "19.0", 1235, 6500))


def test_inclusive_tax_is_contained(client):
    calculation = taxed(client, 6500, behavior="inclusive")
    assert (calculation.tax_amount_exclusive, calculation.tax_amount_inclusive) == (0, 1038)
    assert (calculation.amount_total, how(calculation)) == (6500, ("standard_rated", "19.0", 1038, 5462))


def test_each_line_is_rounded_once_half_away_from_zero(client):
    calculation = taxed(client, 50, 50, 50, country="DE", expand=["line_items"])
    assert [line.amount_tax for line in calculation.line_items.data] == [10, 10, 10]
    assert calculation.tax_amount_exclusive == 30


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        ({"country": "FR"}, ("standard_rated", "20.0", 200, 1000)),
        ({"country": "GB"}, ("standard_rated", "20.0", 200, 1000)),
        ({"country": "FI"}, ("standard_rated", "25.5", 255, 1000)),
        ({"country": "US", "address": {"postal_code": "94111"}}, ("not_collecting", "0.0", 0, 0)),
        ({"country": "BR"}, ("not_collecting", "0.0", 0, 0)),
        ({"tax_ids": [VAT_ID]}, ("reverse_charge", "0.0", 0, 0)),
        ({"country": "GB", "tax_ids": [VAT_ID]}, ("standard_rated", "20.0", 200, 1000)),
        ({"taxability_override": "reverse_charge"}, ("reverse_charge", "0.0", 0, 0)),
        ({"taxability_override": "customer_exempt"}, ("customer_exempt", "0.0", 0, 0)),
    ],
)
def test_the_tax_depends_on_where_and_what_the_customer_is(client, details, expected):
    assert how(taxed(client, 1000, **details)) == expected


def test_a_business_at_home_is_taxed_like_everybody(client, sandbox):
    sandbox.tax(home="DE")
    assert how(taxed(client, 1000, tax_ids=[VAT_ID]))[0] == "standard_rated"
    assert how(taxed(client, 1000, country="FR", tax_ids=[{**VAT_ID, "value": "FR12345678901"}]))[0] == "reverse_charge"


def test_rates_are_set_through_the_control_door(client, sandbox):
    asked = json.dumps({"rates": {"DE": "7.5", "BR": "17", "FR": None, "GB": "0"}}).encode()
    request = urllib.request.Request(f"{sandbox.url}/_sandbox/tax", asked, {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=5).close()
    reasons = {country: how(taxed(client, 1000, country=country))[:3] for country in ("DE", "BR", "FR", "GB")}
    assert reasons == {
        "DE": ("standard_rated", "7.5", 75),
        "BR": ("standard_rated", "17.0", 170),
        "FR": ("not_collecting", "0.0", 0),
        "GB": ("zero_rated", "0.0", 0),
    }
    with urllib.request.urlopen(f"{sandbox.url}/_sandbox/tax", timeout=5) as answer:
        told = json.load(answer)
    assert (told["home"], told["rates"]["DE"], "FR" in told["rates"]) == ("US", "7.5", False)


@pytest.mark.parametrize(("country", "percent"), [("XX", "19"), ("de", "19"), ("DE", "-1"), ("DE", "100"), ("DE", "x")])
def test_what_is_no_rate_is_refused(sandbox, country, percent):
    with pytest.raises(ValueError, match="is not a"):
        sandbox.tax({country: percent})


def test_line_items_and_their_breakdown_show_only_where_expanded(client):
    plain = taxed(client, 1000, 500)
    assert "line_items" not in plain.to_dict()
    lines = client.v1.tax.calculations.line_items
    listed = lines.list(plain.id).data
    detailed = lines.list(plain.id, {"expand": ["data.tax_breakdown"]}).data
    again = client.v1.tax.calculations.retrieve(plain.id, {"expand": ["line_items", "line_items.data.tax_breakdown"]})
    assert [(line.reference, line.amount_tax) for line in listed] == [("line 0", 190), ("line 1", 95)]
    assert "tax_breakdown" not in listed[0].to_dict()
    assert again.line_items.data == detailed
    assert detailed[1].tax_breakdown[0].jurisdiction.display_name == "Germany"


def test_a_calculation_is_kept_for_ninety_days(client, clock):
    made = taxed(client, 1000)
    assert made.expires_at == clock.seconds + 90 * 86_400
    clock.seconds += 90 * 86_400 - 1
    assert client.v1.tax.calculations.retrieve(made.id).amount_total == 1190
    clock.seconds += 1
    with pytest.raises(stripe.InvalidRequestError) as gone:
        client.v1.tax.calculations.retrieve(made.id)
    assert (gone.value.http_status, gone.value.code) == (404, "resource_missing")


@pytest.mark.parametrize(
    ("details", "code", "param"),
    [
        ({"country": "XX"}, "customer_tax_location_invalid", "customer_details[address]"),
        ({"country": "Germany"}, "customer_tax_location_invalid", "customer_details[address]"),
        ({"country": "US"}, "customer_tax_location_invalid", "customer_details[address]"),
        ({"country": "CA"}, "customer_tax_location_invalid", "customer_details[address]"),
        ({"tax_ids": [{**VAT_ID, "value": "123"}]}, "tax_id_invalid", "customer_details[tax_ids][0][value]"),
        ({"tax_ids": [{**VAT_ID, "type": "vat"}]}, None, "customer_details[tax_ids][0][type]"),
        ({"taxability_override": "please"}, None, "customer_details[taxability_override]"),
        ({"currency": "euros"}, None, "currency"),
        ({"customer_details": None}, "parameter_missing", "customer_details"),
        ({"line_items": [{"amount": -1}]}, "parameter_invalid_integer", "line_items[0][amount]"),
        ({"line_items": [{"amount": 1, "reference": "a"}] * 2}, None, "line_items[1][reference]"),
        ({"line_items": [{"amount": 1, "tax_code": "saas"}]}, "resource_missing", "line_items[0][tax_code]"),
        ({"line_items": [{"amount": 1}] * 101}, None, "line_items"),
        ({"tax_date": 1_793_000_000 + 32 * 86_400}, None, "tax_date"),
        ({"shipping_cost": {"amount": 5}}, "sandbox_not_played", "shipping_cost"),
    ],
)
def test_what_stripe_tax_would_refuse_is_refused(client, details, code, param):
    with pytest.raises(stripe.InvalidRequestError) as refused:
        taxed(client, 1000, **details)
    assert (refused.value.http_status, refused.value.code, refused.value.param) == (400, code, param)


def test_an_address_needs_its_source(client):
    details = {"address": {"country": "DE"}}
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.tax.calculations.create(
            {"currency": "eur", "customer_details": details, "line_items": [{"amount": 1}]}
        )
    assert refused.value.param == "customer_details[address_source]"
