"""A POST with an Idempotency-Key happens once, however often and however concurrently it is sent."""

import threading
import time
from datetime import timedelta

import pytest
from django.db import connection, transaction

from api.idempotency import Rendered, answer_once, forget_old_answers
from api.keys import create_key
from api.models import ApiKey, IdempotentAnswer
from api.problems import Problem
from tests.rest import LONG_AGO

from .test_endpoints import problem

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.api.tiny")]
THING = {"name": "acme", "price": "1.50"}


def test_the_same_request_gets_the_same_answer_and_is_done_once(caller):
    someone = caller()
    first = someone.post("/v1/things", THING, idempotency_key="k1")
    again = someone.post("/v1/things", THING, idempotency_key="k1")
    assert again.content == first.content
    assert (again.status_code, again["Location"]) == (201, first["Location"])
    assert (again["Idempotent-Replayed"], first.get("Idempotent-Replayed")) == ("true", None)
    assert ApiKey.objects.filter(name="acme").count() == 1


def test_another_body_or_query_under_the_same_key_is_409(caller):
    someone = caller()
    someone.post("/v1/things", THING, idempotency_key="k1")
    problem(someone.post("/v1/things", {"name": "bolt"}, idempotency_key="k1"), 409)


def test_keys_of_two_callers_have_nothing_to_do_with_each_other(caller):
    assert caller().post("/v1/things", {"name": "acme"}, idempotency_key="k1").status_code == 201
    assert caller().post("/v1/things", {"name": "bolt"}, idempotency_key="k1").status_code == 201


@pytest.mark.parametrize("name", ["taken", "boom"])
def test_a_refused_or_failed_request_leaves_no_trace_and_may_be_tried_again(caller, name, caplog):
    someone = caller()
    first = someone.post("/v1/things", {"name": name}, idempotency_key="k1").status_code
    assert someone.post("/v1/things", {"name": name}, idempotency_key="k1").status_code == first
    assert not IdempotentAnswer.objects.exists()
    assert someone.post("/v1/things", THING, idempotency_key="k1").status_code == 201


def test_an_operation_that_is_not_one_transaction_leaves_no_trace_of_a_refusal_either(caller):
    someone = caller()
    for _ in range(2):
        problem(someone.post("/v1/things-by-themselves", THING, idempotency_key="k1"), 409)
    assert not IdempotentAnswer.objects.exists()


@pytest.mark.parametrize("key", ["", "x" * 256, "caf\u00e9", "a\tb"])
def test_a_key_that_cannot_be_kept_is_400(caller, key):
    problem(caller().post("/v1/things", THING, idempotency_key=key), 400)


def test_answers_are_forgotten_after_a_day_and_not_before(caller):
    caller().post("/v1/things", THING, idempotency_key="k1")
    made_at = IdempotentAnswer.objects.get().created_at
    assert forget_old_answers(now=made_at + timedelta(hours=24)) == 0
    assert forget_old_answers(now=made_at + timedelta(hours=24, seconds=1)) == 1


def in_threads(*works):
    """Runs all at once, each with a connection of its own, and returns what they returned."""
    answers = [None] * len(works)

    def run(i):
        try:
            answers[i] = works[i]()
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    return answers


@pytest.mark.django_db(transaction=True)
def test_of_two_at_once_the_second_waits_for_the_first_and_gets_its_answer():
    api_key, _ = create_key("Acme's backend", ["manage"], now=LONG_AGO)
    at_work, done = threading.Event(), []

    def work():
        at_work.set()
        time.sleep(0.3)
        done.append(1)
        return Rendered(201, b"{}", "/v1/things/1")

    def send(wait):
        if wait:
            at_work.wait(5)
        with transaction.atomic():
            return answer_once(work, api_key=api_key, key="k", method_and_path="POST /", body=b"", now=LONG_AGO)

    first, second = in_threads(lambda: send(False), lambda: send(True))
    assert len(done) == 1
    assert (first.replayed, second.replayed) == (False, True)
    assert (second.status, second.body, second.location) == (201, b"{}", "/v1/things/1")


@pytest.mark.django_db(transaction=True)
def test_when_the_first_of_two_fails_the_second_does_the_work():
    api_key, _ = create_key("Acme's backend", ["manage"], now=LONG_AGO)
    at_work = threading.Event()

    def fail():
        at_work.set()
        time.sleep(0.2)
        raise Problem(409, "conflict", "Not now")

    def first():
        with pytest.raises(Problem), transaction.atomic():
            answer_once(fail, api_key=api_key, key="k", method_and_path="POST /", body=b"", now=LONG_AGO)

    def second():
        at_work.wait(5)
        with transaction.atomic():
            return answer_once(
                lambda: Rendered(201, b"{}"),
                api_key=api_key,
                key="k",
                method_and_path="POST /",
                body=b"",
                now=LONG_AGO,
            )

    assert in_threads(first, second)[1] == Rendered(201, b"{}")


@pytest.mark.django_db(transaction=True)
def test_eight_callers_at_once_make_one_thing(caller):
    someone = caller()
    answers = in_threads(*[lambda: someone.post("/v1/things", THING, idempotency_key="k1")] * 8)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert ApiKey.objects.filter(name="acme").count() == 1
