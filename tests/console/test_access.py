"""Only staff comes in; what is frozen or money is looked at and not touched; every table can be looked at."""

import re

import pytest
from django.apps import apps
from django.db.models import CompositePrimaryKey
from django.urls import reverse

from billing.models import Account, InvoiceLine, StripeEvent, Transfer
from console.admin_site import SECTIONS, site
from plans.models import PlanVersion, TierSchemeVersion
from tests.cast import LATER, NOON, acme, the_sitting

OURS = ("plans", "metering", "billing", "api")
PAGES = [
    "/admin/",
    "/admin/metering/",
    "/admin/conversations/",
    "/admin/events/",
    "/admin/late-changes/",
    "/admin/billing/invoice/",
]


def row_url(row, action="change"):
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_{action}", args=[row.pk])


def list_url(model, action="changelist"):
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{action}")


def our_models():
    return [model for label in OURS for model in apps.get_app_config(label).get_models()]


@pytest.mark.parametrize("page", PAGES)
def test_who_is_not_signed_in_is_asked_to(client, db, page):
    answer = client.get(page)
    assert answer.status_code == 302
    assert answer["Location"].startswith("/admin/login/")


@pytest.mark.parametrize("page", PAGES)
def test_who_is_no_staff_sees_nothing(passer_by, page):
    assert passer_by.get(page).status_code == 302


@pytest.mark.parametrize("page", PAGES)
def test_staff_looks_without_further_permission(looker, page):
    assert looker.get(page).status_code == 200


def test_every_table_is_on_the_desk_under_a_name_for_people(db):
    for model in our_models():
        if isinstance(model._meta.pk, CompositePrimaryKey):
            continue
        assert model in site._registry, model
        assert model.__name__ in SECTIONS[model._meta.app_label][1], model


def test_every_list_opens(desk, invoice):
    for model in site._registry:
        assert desk.get(list_url(model)).status_code == 200, model


def test_every_row_opens(looker, invoice):
    StripeEvent.objects.create(id="evt_1", type="invoice.paid", payload={}, received_at=NOON, not_before=NOON)
    for model in our_models():
        row = None if isinstance(model._meta.pk, CompositePrimaryKey) else model.objects.first()
        assert row is None or looker.get(row_url(row)).status_code == 200, model


def test_tables_come_in_the_order_of_the_floors(desk):
    body = desk.get("/admin/").content.decode()
    captions = re.findall(r'class="section"[^>]*>([^<]*)<', body)
    assert captions == [heading for heading, _ in SECTIONS.values()]


@pytest.mark.parametrize("model", [PlanVersion, TierSchemeVersion, InvoiceLine, Transfer, Account])
@pytest.mark.parametrize("action", ["change", "delete"])
def test_what_is_frozen_answers_403_to_a_change(desk, invoice, model, action):
    assert desk.post(row_url(model.objects.first(), action), {"post": "yes"}).status_code == 403


def test_a_finalized_invoice_answers_403_to_a_change(desk, invoice):
    assert desk.post(row_url(invoice), {"status": "void"}).status_code == 403
    assert desk.post(list_url(type(invoice)), {"action": "delete_selected"}).status_code == 403
    assert desk.post(list_url(type(invoice), "add"), {}).status_code == 403


def test_conversations_and_events_are_only_looked_at(desk, talked):
    for url in ("/admin/conversations/", f"/admin/conversations/{the_sitting().id}/", "/admin/events/"):
        assert desk.post(url).status_code == 405


def test_contact_data_is_changed_and_nothing_else(desk, db):
    customer = acme()
    sent = {"name": "Acme Ltd", "email": "bills@acme.example", "country": "DE", "tax_id": "", "currency": "EUR"}
    assert desk.post(row_url(customer), sent).status_code == 302
    customer.refresh_from_db()
    assert (customer.name, customer.country, customer.currency) == ("Acme Ltd", "DE", "USD")


def test_contact_data_is_as_strict_as_the_api(desk, db):
    answer = desk.post(row_url(acme()), {"name": "Acme", "country": "de"})
    assert b"Two capital letters" in answer.content


def test_staff_without_permission_changes_no_contact_data(looker, db):
    assert looker.post(row_url(acme()), {"name": "Mine"}).status_code == 403


def test_an_erased_customer_stays_erased(desk, db):
    customer = acme()
    type(customer).objects.update(erased_at=LATER)
    assert desk.post(row_url(customer), {"name": "Again"}).status_code == 403


def test_no_page_needs_an_inline_script_or_style(desk, invoice):
    for url in (*PAGES, f"/admin/conversations/{the_sitting().id}/", row_url(invoice), row_url(invoice.customer)):
        body = desk.get(url).content.decode()
        assert not re.search(r"<script(?![^>]*\bsrc=)", body), url
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", body), url
