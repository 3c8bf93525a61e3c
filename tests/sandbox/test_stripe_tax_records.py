import itertools

import pytest
import stripe
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.stripe_sandbox import StripeSandbox
from tests.sandbox.stripe_cast import client_of, taxed

REFERENCES = (f"INV-{number}" for number in itertools.count())


def recorded(client, *amounts, reference="INV-1", **details):
    calculation = taxed(client, *amounts, **details)
    return client.v1.tax.transactions.create_from_calculation(
        {"calculation": calculation.id, "reference": reference, "expand": ["line_items"]}
    )


def reverse(client, transaction, reference, **how):
    asked = {"original_transaction": transaction.id, "reference": reference, "expand": ["line_items"], **how}
    return client.v1.tax.transactions.create_reversal({"mode": "partial" if how else "full", **asked})


def amounts(transaction):
    return [(line.amount, line.amount_tax) for line in transaction.line_items.data]


def test_what_was_calculated_is_recorded(client, clock):
    made = recorded(client, 1000, 500)
    assert (made.type, made.reference, made.posted_at, amounts(made)) == (
        "transaction",
        "INV-1",
        clock.seconds,
        [(1000, 190), (500, 95)],
    )
    kept = client.v1.tax.transactions.retrieve(made.id)
    assert "line_items" not in kept.to_dict()
    assert client.v1.tax.transactions.line_items.list(made.id).data == made.line_items.data


def test_a_reference_is_used_once_by_sales_and_reversals_alike(client):
    made = recorded(client, 1000)
    for again in (lambda: recorded(client, 5), lambda: reverse(client, made, "INV-1")):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            again()
        assert (refused.value.code, refused.value.param) == ("resource_already_exists", "reference")


def test_the_same_key_records_once(client):
    asked = {"calculation": taxed(client, 1000).id, "reference": "INV-1"}
    record = client.v1.tax.transactions.create_from_calculation
    assert record(asked, {"idempotency_key": "k"}).id == record(asked, {"idempotency_key": "k"}).id


def test_an_expired_calculation_cannot_be_recorded(client, clock):
    calculation = taxed(client, 1000)
    clock.seconds += 90 * 86_400
    with pytest.raises(stripe.InvalidRequestError, match="No such tax calculation"):
        client.v1.tax.transactions.create_from_calculation({"calculation": calculation.id, "reference": "INV-1"})


def test_a_full_reversal_takes_everything_back_once(client):
    made = recorded(client, 1000, 500)
    back = reverse(client, made, "CN-1")
    assert (back.type, back.reversal.original_transaction, amounts(back)) == (
        "reversal",
        made.id,
        [(-1000, -190), (-500, -95)],
    )
    for how in ({}, {"flat_amount": -1}):
        with pytest.raises(stripe.InvalidRequestError, match="because it has been fully reversed"):
            reverse(client, made, "CN-2", **how)


def test_stripes_own_example_of_a_flat_amount(client, sandbox):
    sandbox.tax({"DE": "10"})
    made = recorded(client, 1000, 2000)
    assert amounts(reverse(client, made, "CN-1", flat_amount=-1650)) == [(-500, -50), (-1000, -100)]


def test_a_flat_amount_is_taken_from_what_is_left(client, sandbox):
    sandbox.tax({"DE": "10"})
    made = recorded(client, 1000, 2000)
    first = {"original_line_item": made.line_items.data[0].id, "amount": -1000, "amount_tax": -100, "reference": "L1"}
    assert amounts(reverse(client, made, "CN-1", line_items=[first])) == [(-1000, -100)]
    assert amounts(reverse(client, made, "CN-2", flat_amount=-1650)) == [(0, 0), (-1500, -150)]
    with pytest.raises(stripe.InvalidRequestError, match="more than the 550 that is left"):
        reverse(client, made, "CN-3", flat_amount=-551)
    with pytest.raises(stripe.InvalidRequestError, match="what is left to reverse"):
        reverse(client, made, "CN-3", line_items=[first])


def test_a_partial_reversal_can_be_undone(client):
    made = recorded(client, 1000)
    wrong = reverse(client, made, "CN-1", flat_amount=-1190)
    undone = reverse(client, wrong, "CN-1-void")
    assert amounts(undone) == [(1000, 190)]
    assert amounts(reverse(client, made, "CN-2", flat_amount=-595)) == [(-500, -95)]
    with pytest.raises(stripe.InvalidRequestError, match="can't reverse a full reversal"):
        reverse(client, undone, "CN-3")


@pytest.mark.parametrize(
    "how",
    [
        {"mode": "partial"},
        {"mode": "full", "flat_amount": -1},
        {"flat_amount": 1},
        {
            "flat_amount": -1,
            "line_items": [{"amount": 0, "amount_tax": 0, "original_line_item": "x", "reference": "y"}],
        },
        {"shipping_cost": {"amount": -1, "amount_tax": 0}},
    ],
)
def test_a_reversal_that_does_not_say_what_is_refused(client, how):
    made = recorded(client, 1000)
    with pytest.raises(stripe.InvalidRequestError):
        reverse(client, made, "CN-1", **how)


@pytest.fixture(scope="module")
def shared():
    with StripeSandbox() as sandbox:
        sandbox._server.store.rows("PRAGMA synchronous=OFF")
        yield client_of(sandbox)


@settings(max_examples=25)
@given(
    lines=st.lists(st.integers(0, 5000), min_size=1, max_size=5),
    cuts=st.lists(st.integers(1, 100), min_size=1, max_size=4),
    behavior=st.sampled_from(["exclusive", "inclusive"]),
)
def test_flat_reversals_add_up_to_what_was_asked_and_in_the_end_to_the_sale(shared, lines, cuts, behavior):
    made = recorded(shared, *lines, behavior=behavior, reference=next(REFERENCES))
    total = left = sum(amount + (tax if behavior == "exclusive" else 0) for amount, tax in amounts(made))
    taken = [[0, 0] for _ in lines]
    for place, cut in enumerate([*cuts, 100]):
        flat = left * cut // 100
        if not flat:
            continue
        back = amounts(reverse(shared, made, f"{made.id}-{place}", flat_amount=-flat))
        assert sum(amount + (tax if behavior == "exclusive" else 0) for amount, tax in back) == -flat
        taken = [[a + b for a, b in zip(old, new, strict=True)] for old, new in zip(taken, back, strict=True)]
        left -= flat
    assert left == 0 or total == 0
    assert [(-amount, -tax) for amount, tax in taken] == amounts(made)
