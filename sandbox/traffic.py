"""What does a month of a product's conversations look like? Events of the REST contract, made up, always the same.

A support assistant on two models: short questions, longer ones with tools, a few that run for hours. A model re-reads
the conversation on every turn, mostly from its cache, so tokens grow faster than turns; some calls fail and are tried
again. How many conversations of which length there are is given, so that a bill can be foretold.
"""

import datetime as dt
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

Event = dict[str, Any]

MODELS = [("openai", "gpt-4o-mini"), ("anthropic", "claude-sonnet-4-5")]
RETRY_SHARE = 0.03
RESOLVED_SHARE = 0.8
SENT_TWICE_SHARE = 0.01
BUSY_DAYS = 26
"""Conversations begin in the first days of the month, so that all of them settle within it."""


class Length(NamedTuple):
    """How long the conversations of one sort are: turns, and tokens of the instructions and of each exchange."""

    turns: tuple[int, int]
    instructions: tuple[int, int]
    question: tuple[int, int]
    answer: tuple[int, int]
    seconds_a_turn: tuple[int, int]


QUESTION = Length((1, 3), (250, 500), (20, 90), (60, 220), (20, 120))
TALK = Length((4, 7), (300, 600), (30, 90), (60, 190), (20, 300))
CASE = Length((10, 16), (500, 900), (30, 100), (60, 180), (30, 900))
PROJECT = Length((32, 44), (1_200, 2_000), (60, 200), (150, 500), (60, 1_200))


class Mix(NamedTuple):
    """How many conversations of each sort; under the default tier scheme they are the four tiers, in this order."""

    questions: int
    talks: int
    cases: int
    projects: int


def month_of_traffic(customer: str, month: dt.date, mix: Mix, *, seed: str) -> Iterator[Event]:
    """The events of a customer's conversations that begin in `month` (a first day), in the order they happen."""
    events = [
        event
        for length, count in zip((QUESTION, TALK, CASE, PROJECT), mix, strict=True)
        for number in range(count)
        for event in _conversation(customer, month, length, f"{length.turns[1]}-{number}", seed)
    ]
    yield from sorted(events, key=lambda event: (event["occurred_at"], event["id"]))


def _conversation(customer: str, month: dt.date, length: Length, name: str, seed: str) -> Iterator[Event]:
    dice = random.Random(f"{seed}/{customer}/{month}/{name}")
    provider, model = dice.choice(MODELS)
    reference = f"chat-{month:%Y-%m}-{name}"
    at = _opening(month, dice)
    context = dice.randint(*length.instructions)
    turns = dice.randint(*length.turns)
    for turn in range(1, turns + 1):
        question, answer = dice.randint(*length.question), dice.randint(*length.answer)
        event: Event = {
            "id": f"{reference}-{turn}",
            "customer": customer,
            "conversation": reference,
            "occurred_at": at.isoformat(),
            "provider": provider,
            "model": model,
            "usage": _usage(context, question, answer, cached=turn > 1),
            "turn": turn,
            "feature": "support",
        }
        if turn == turns:
            event["outcome"] = "resolved" if dice.random() < RESOLVED_SHARE else "escalated"
        if dice.random() < RETRY_SHARE:
            yield {**event, "id": f"{event['id']}-failed", "status": "error"}
            event |= {"attempt": 2, "occurred_at": (at + dt.timedelta(seconds=2)).isoformat()}
        yield event
        if dice.random() < SENT_TWICE_SHARE:
            yield event
        context += question + answer
        at += dt.timedelta(seconds=dice.randint(*length.seconds_a_turn))


def _opening(month: dt.date, dice: random.Random) -> dt.datetime:
    """Mostly in office hours of a weekday, UTC."""
    day = dt.datetime.combine(month, dt.time(), dt.UTC) + dt.timedelta(days=dice.randrange(BUSY_DAYS))
    if day.weekday() >= 5 and dice.random() < 0.7:
        day -= dt.timedelta(days=2) if day.day > 2 else dt.timedelta()
    seconds = min(max(dice.gauss(13.5, 3), 0), 23.9) * 3600
    return day + dt.timedelta(seconds=round(seconds, 3))


def _usage(context: int, question: int, answer: int, *, cached: bool) -> dict[str, int]:
    """What the model read (from its cache, where it had read it before) and wrote."""
    read = context if cached and context >= 1024 else 0
    return {"input_tokens": context + question - read, "cache_read_tokens": read, "output_tokens": answer}
