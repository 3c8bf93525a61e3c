"""Which tax is due where? One rate a country, for a seller who is registered in every country of the table.

Settings replace a rate (`tax rate DE`: a percentage, or nothing where the seller does not collect) and the seller's own
country (`tax home`). Businesses elsewhere that give a tax id account for the tax themselves, as Stripe Tax finds for
digital services.
"""

import re
from dataclasses import dataclass
from decimal import Decimal

from sandbox.stripe_desk import Desk
from sandbox.stripe_refusal import Refusal
from sandbox.stripe_store import Object, Store

HOME = "US"
# country -> (name, percentage, kind of tax); where it is not listed, nothing is collected.
RATES = {
    "AT": ("Austria", "20", "vat"), "AU": ("Australia", "10", "gst"), "BE": ("Belgium", "21", "vat"),
    "BG": ("Bulgaria", "20", "vat"), "CA": ("Canada", "5", "gst"), "CH": ("Switzerland", "8.1", "vat"),
    "CY": ("Cyprus", "19", "vat"), "CZ": ("Czech Republic", "21", "vat"), "DE": ("Germany", "19", "vat"),
    "DK": ("Denmark", "25", "vat"), "EE": ("Estonia", "24", "vat"), "ES": ("Spain", "21", "vat"),
    "FI": ("Finland", "25.5", "vat"), "FR": ("France", "20", "vat"), "GB": ("United Kingdom", "20", "vat"),
    "GR": ("Greece", "24", "vat"), "HR": ("Croatia", "25", "vat"), "HU": ("Hungary", "27", "vat"),
    "IE": ("Ireland", "23", "vat"), "IN": ("India", "18", "gst"), "IT": ("Italy", "22", "vat"),
    "JP": ("Japan", "10", "jct"), "LT": ("Lithuania", "21", "vat"), "LU": ("Luxembourg", "17", "vat"),
    "LV": ("Latvia", "21", "vat"), "MT": ("Malta", "18", "vat"), "NL": ("Netherlands", "21", "vat"),
    "NO": ("Norway", "25", "vat"), "NZ": ("New Zealand", "15", "gst"), "PL": ("Poland", "23", "vat"),
    "PT": ("Portugal", "23", "vat"), "RO": ("Romania", "21", "vat"), "SE": ("Sweden", "25", "vat"),
    "SG": ("Singapore", "9", "gst"), "SI": ("Slovenia", "22", "vat"), "SK": ("Slovakia", "23", "vat"),
}  # fmt: skip
# The tax id that makes a customer a business there; in the EU it is eu_vat.
BUSINESS_IDS = {
    "AU": "au_abn", "CA": "ca_gst_hst", "CH": "ch_vat", "GB": "gb_vat", "IN": "in_gst", "JP": "jp_trn",
    "NO": "no_vat", "NZ": "nz_gst", "SG": "sg_gst",
}  # fmt: skip
EU = RATES.keys() - BUSINESS_IDS.keys()
EU_VAT = re.compile(rf"({'|'.join(sorted(EU - {'GR'}))}|EL|XI)[0-9A-Z+*]{{2,12}}")
COUNTRY = re.compile(r"(?!AA|Q[M-Z]|X[A-JL-Z]|ZZ)[A-Z]{2}")  # not those that ISO 3166 leaves to private use
TAX_NAMES = {"vat": "VAT", "gst": "GST", "jct": "Consumption tax", "sales_tax": "Sales tax"}


@dataclass(frozen=True)
class Finding:
    """What applies to a customer: `reason` in Stripe's words; `kind` is None where no tax is known."""

    country: str
    name: str
    reason: str
    percent: Decimal
    kind: str | None

    @property
    def applies(self) -> bool:
        return self.reason in ("standard_rated", "zero_rated")


def find_tax(desk: Desk, details: Object) -> Finding:
    """The tax for these `customer_details`; raises Refusal where the address or a tax id is not good enough."""
    address = details["address"]
    country = address["country"]
    _check_place(address)
    for place, tax_id in enumerate(details["tax_ids"]):
        _check_tax_id(tax_id, f"customer_details[tax_ids][{place}][value]")
    name, percent, kind = rate_of(desk.store, country)
    if percent is None:
        return Finding(country, name, "not_collecting", Decimal(0), None)
    if details["taxability_override"] != "none":
        return Finding(country, name, details["taxability_override"], Decimal(0), kind)
    if country != home_of(desk.store) and _is_business(country, details["tax_ids"]):
        return Finding(country, name, "reverse_charge", Decimal(0), kind)
    return Finding(country, name, "standard_rated" if percent else "zero_rated", percent, kind)


def rate_of(store: Store, country: str) -> tuple[str, Decimal | None, str]:
    """Name of the country, percentage (None: the seller does not collect there) and kind of tax."""
    name, percent, kind = RATES.get(country, (country, "", "sales_tax" if country == "US" else "vat"))
    chosen = store.setting(f"tax rate {country}", percent)
    return name, Decimal(chosen) if chosen else None, kind


def rates(store: Store) -> dict[str, str]:
    """The percentage of every country where the seller collects tax."""
    chosen = {row["name"].removeprefix("tax rate ") for row in store.rows("SELECT name FROM settings")}
    known = RATES.keys() | {country for country in chosen if COUNTRY.fullmatch(country)}
    found = {country: rate_of(store, country)[1] for country in sorted(known)}
    return {country: str(percent) for country, percent in found.items() if percent is not None}


def home_of(store: Store) -> str:
    return store.setting("tax home", HOME)


def set_rate(store: Store, country: str, percent: object) -> None:
    """From now on; None where the seller does not collect. Raises ValueError for what is no rate."""
    if not COUNTRY.fullmatch(country):
        raise ValueError(f"{country!r} is not a country")
    chosen = "" if percent is None else str(percent)
    if chosen and not re.fullmatch(r"\d{1,2}(\.\d{1,4})?", chosen):
        raise ValueError(f"{percent!r} is not a percentage")
    with store.transaction():
        store.set(f"tax rate {country}", chosen)


def set_home(store: Store, country: str) -> None:
    """Where the seller is from now on; raises ValueError."""
    if not COUNTRY.fullmatch(country):
        raise ValueError(f"{country!r} is not a country")
    with store.transaction():
        store.set("tax home", country)


def _check_place(address: Object) -> None:
    country = address["country"]
    precise = {
        "US": bool(address["postal_code"]),
        "CA": bool(address["postal_code"] or address["state"]),
    }
    if not COUNTRY.fullmatch(country) or not precise.get(country, True):
        raise Refusal(
            400,
            "We could not determine the customer's tax location based on the provided customer address.",
            code="customer_tax_location_invalid",
            param="customer_details[address]",
        )


def _check_tax_id(tax_id: Object, param: str) -> None:
    if tax_id["type"] == "eu_vat" and not EU_VAT.fullmatch(tax_id["value"]):
        raise Refusal(400, f"Invalid value for {tax_id['type']}.", code="tax_id_invalid", param=param)


def _is_business(country: str, tax_ids: list[Object]) -> bool:
    wanted = "eu_vat" if country in EU else BUSINESS_IDS.get(country)
    return any(tax_id["type"] == wanted for tax_id in tax_ids)
