"""Which usage is sent? A stream of model calls over a sliding window of open conversations, ready as HTTP requests.

The stream is a function of its name, so that every process of the load can make its own part of it.
"""

import datetime as dt
import hashlib
import random
from collections.abc import Iterator
from typing import NamedTuple

CUSTOMERS = [f"bench-{number:02}" for number in range(20)]
OPEN_CONVERSATIONS = 5_000
EVENTS_A_CONVERSATION = 12
MODELS = (("openai", "gpt-4o"), ("anthropic", "claude-3-5-sonnet-20241022"), ("openai", "gpt-4o-mini"))
TICK = dt.timedelta(milliseconds=2)
"""Between two calls, in event time: a conversation then has a call every ten seconds."""
STREAM_LASTS = dt.timedelta(hours=1)


class Stream(NamedTuple):
    """One stream of events: `batch` of them a request, `requests` in all, the first at `starts_at`."""

    name: str
    batch: int
    requests: int
    starts_at: dt.datetime
    random_ids: bool = False


def request_bodies(stream: Stream, *, part: int = 0, parts: int = 1) -> Iterator[bytes]:
    """Every `parts`-th request body of the stream, beginning with number `part`."""
    batch: list[str] = []
    for number, event in enumerate(_events(stream)):
        request = number // stream.batch
        if request % parts != part:
            continue
        batch.append(_json(stream, number, *event))
        if len(batch) == stream.batch:
            yield (batch[0] if stream.batch == 1 else f'{{"events":[{",".join(batch)}]}}').encode()
            batch = []


def _events(stream: Stream) -> Iterator[tuple[int, int, int]]:
    """Conversation, turn and slot of each event: twelve a conversation, then its slot is free for the next one."""
    choice = random.Random(stream.name)
    opened = OPEN_CONVERSATIONS
    conversations = list(range(opened))
    # As if it had been going on for a while: conversations are at different turns.
    turns = [choice.randrange(EVENTS_A_CONVERSATION) for _ in range(opened)]
    for _ in range(stream.requests * stream.batch):
        slot = int(choice.random() * OPEN_CONVERSATIONS)
        turns[slot] += 1
        if turns[slot] > EVENTS_A_CONVERSATION:
            conversations[slot], turns[slot] = opened, 1
            opened += 1
        yield conversations[slot], turns[slot], slot


def _json(stream: Stream, number: int, conversation: int, turn: int, slot: int) -> str:
    at = stream.starts_at + number * TICK
    provider, model = MODELS[slot % len(MODELS)]
    return (
        f'{{"id":"{event_id(stream, number)}","customer":"{CUSTOMERS[conversation % len(CUSTOMERS)]}",'
        f'"conversation":"{stream.name}-{conversation}","occurred_at":"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond:06}Z",'
        f'"provider":"{provider}","model":"{model}","usage":{{"input_tokens":{80 + slot},'
        f'"cache_read_tokens":{16 * turn},'
        f'"cache_write_tokens":0,"output_tokens":{100 + number % 700}}},"turn":{turn}}}'
    )


def event_id(stream: Stream, number: int) -> str:
    """Time-ordered, as a client's UUIDv7 would be; or in no order, as hashes are."""
    if stream.random_ids:
        return f"evt_{hashlib.md5(f'{stream.name}-{number}'.encode()).hexdigest()}"
    at_ms = int((stream.starts_at + number * TICK).timestamp() * 1000)
    noise = (number * 0x9E3779B97F4A7C15 + len(stream.name)) & 0xFFFFFFFFFFFF
    return f"evt_{at_ms:012x}7{number:07x}{noise:012x}"
