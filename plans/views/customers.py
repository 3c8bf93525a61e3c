"""`/v1/customers`: who is billed."""

import datetime as dt
import uuid
from typing import Annotated, Any, Literal
from urllib.parse import quote

import msgspec
from django.utils import timezone
from msgspec import UNSET, Meta, UnsetType
from rest_framework.request import Request

from api.endpoints import Answer, Endpoint, operation
from api.pagination import Page, PageQuery, paginated
from api.problems import not_found
from api.strict_json import Body
from plans.customers import (
    CustomerExists,
    InvalidCustomer,
    StillSubscribed,
    change_customer,
    create_customer,
    erase_customer,
    find_customer,
)
from plans.models import Customer

Key = Annotated[str, Meta(min_length=1, max_length=512)]
Name = Annotated[str, Meta(max_length=200)]
Email = Annotated[str, Meta(max_length=254, pattern=r"^([^@\s]+@[^@\s]+)?$(?!\n)")]
Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}$(?!\n)")]
Zone = Annotated[str, Meta(min_length=1, max_length=64, description="IANA time zone")]
Country = Annotated[str, Meta(pattern=r"^([A-Z]{2})?$(?!\n)")]
TaxId = Annotated[str, Meta(max_length=50)]
Exempt = Annotated[
    Literal["none", "exempt", "reverse"],
    Meta(description="`reverse`: accounts for the tax itself (reverse charge)."),
]


class NewCustomer(Body):
    """A customer to be; `key` is the operator's own name for it."""

    key: Key
    currency: Currency
    name: Name = ""
    email: Email = ""
    timezone: Zone = "UTC"
    byok: bool = False
    country: Country = ""
    tax_id: TaxId = ""
    tax_exempt: Exempt = "none"


class CustomerChange(Body):
    """What may be changed about a customer; fields left out stay."""

    name: Name | UnsetType = UNSET
    email: Email | UnsetType = UNSET
    timezone: Zone | UnsetType = UNSET
    byok: bool | UnsetType = UNSET
    country: Country | UnsetType = UNSET
    tax_id: TaxId | UnsetType = UNSET
    tax_exempt: Exempt | UnsetType = UNSET


class CustomerOut(msgspec.Struct):
    """A customer."""

    id: uuid.UUID
    key: str
    name: str
    email: str
    currency: str
    timezone: str
    byok: bool
    country: str
    tax_id: str
    tax_exempt: str
    created_at: dt.datetime


def customer_out(customer: Customer) -> CustomerOut:
    return CustomerOut(**{name: getattr(customer, name) for name in CustomerOut.__struct_fields__})


def get_customer(key: str) -> Customer:
    """The customer a URL or body names, or the problem 404."""
    try:
        return find_customer(key)
    except Customer.DoesNotExist as error:
        raise not_found(f"There is no customer {key!r}.") from error


class Customers(Endpoint):
    """`/v1/customers`"""

    @operation(scope="read", query=PageQuery, returns=Page[CustomerOut], summary="List customers")
    def get(self, request: Request, query: PageQuery) -> Page[CustomerOut]:
        customers = Customer.objects.filter(erased_at=None)
        return paginated(request, customers, to_json=customer_out, limit=query.limit, cursor=query.cursor)

    @operation(
        scope="manage",
        body=NewCustomer,
        returns=CustomerOut,
        status=201,
        problems={CustomerExists: 409, InvalidCustomer: 400},
        summary="Create a customer",
        description="Events that came for its key before are then let out of quarantine.",
    )
    def post(self, request: Request, body: NewCustomer) -> Answer:
        customer = create_customer(**msgspec.structs.asdict(body), now=timezone.now())
        return Answer(customer_out(customer), location=f"/v1/customers/{quote(customer.key, safe='')}")


class OneCustomer(Endpoint):
    """`/v1/customers/{key}`"""

    @operation(scope="read", returns=CustomerOut, summary="Read a customer")
    def get(self, request: Request, key: str) -> CustomerOut:
        return customer_out(get_customer(key))

    @operation(
        scope="manage",
        body=CustomerChange,
        returns=CustomerOut,
        problems={InvalidCustomer: 400},
        summary="Change a customer",
    )
    def patch(self, request: Request, key: str, body: CustomerChange) -> CustomerOut:
        sent: dict[str, Any] = {
            name: value for name, value in msgspec.structs.asdict(body).items() if value is not UNSET
        }
        return customer_out(change_customer(get_customer(key), **sent))

    @operation(scope="manage", status=204, problems={StillSubscribed: 409}, summary="Erase a customer's personal data")
    def delete(self, request: Request, key: str) -> None:
        erase_customer(get_customer(key), now=timezone.now())
