"""A stream is passed on as it is and recorded once, with its last word, however it is read and wherever it is left."""

import asyncio

import pytest

from parley_client.streams import StreamedCall
from tests.clients.shapes import (
    CHAT,
    CHAT_CHUNKS,
    GEMINI,
    GEMINI_CHUNKS,
    MESSAGE,
    MESSAGE_EVENTS,
    RESPONSE,
    RESPONSE_EVENTS,
    as_object,
)

STREAMS = {
    "chat": (CHAT_CHUNKS, CHAT["id"], CHAT["usage"]),
    "responses": (RESPONSE_EVENTS, RESPONSE["id"], RESPONSE["usage"]),
    "messages": (MESSAGE_EVENTS, MESSAGE["id"], MESSAGE["usage"]),
    "gemini": (GEMINI_CHUNKS, GEMINI["responseId"], GEMINI["usageMetadata"]),
}
each = pytest.mark.parametrize(("chunks", "event_id", "usage"), STREAMS.values(), ids=STREAMS)


def told(chunks):
    seen = StreamedCall()
    for chunk in chunks:
        seen.see(chunk)
    return seen.call()


async def asynchronously(chunks):
    for chunk in chunks:
        yield chunk


@each
def test_a_stream_tells_what_the_whole_response_would(chunks, event_id, usage):
    assert (told(chunks).id, told(chunks).usage) == (event_id, usage)


@pytest.mark.parametrize("name", ["chat", "messages"])
def test_objects_tell_the_same_as_dicts(name):
    chunks, event_id, usage = STREAMS[name]
    call = told([as_object(chunk) for chunk in chunks])
    assert (call.id, call.usage["output_tokens" if name == "messages" else "completion_tokens"]) == (event_id, 300)


@each
def test_reading_a_stream_through_the_client_records_it(parley, door, chunks, event_id, usage):
    with parley.conversation(customer="acme", id="chat-9") as c:
        assert [*c.stream(chunks)] == chunks
    assert parley.flush(5)
    assert [*door.events] == [event_id]
    assert door.events[event_id]["provider_usage"] == usage


@each
def test_so_does_reading_it_in_an_event_loop(parley, door, chunks, event_id, usage):
    async def read():
        async with parley.conversation(customer="acme", id="chat-9") as c:
            passed_on = [chunk async for chunk in c.stream(asynchronously(chunks))]
        assert await parley.aflush(5)
        return passed_on

    assert asyncio.run(read()) == chunks
    assert door.events[event_id]["provider_usage"] == usage


def test_a_stream_that_is_left_is_recorded_as_far_as_it_told(parley, door):
    for chunk in parley.stream(MESSAGE_EVENTS, customer="acme", conversation="chat-9"):
        if chunk["type"] == "content_block_delta":
            break
    assert parley.flush(5)
    assert door.events[MESSAGE["id"]]["provider_usage"]["output_tokens"] == 1


def test_a_stream_that_fails_fails_for_its_reader_and_is_recorded_as_far_as_it_told(parley, door):
    def failing():
        yield from MESSAGE_EVENTS[:2]
        raise ConnectionError("reset by peer")

    with pytest.raises(ConnectionError):
        [*parley.stream(failing(), customer="acme", conversation="chat-9")]
    assert parley.flush(5)
    assert [*door.events] == [MESSAGE["id"]]


def test_a_stream_without_usage_is_told_with_what_to_do(parley, problems):
    [*parley.stream(CHAT_CHUNKS[:1], customer="acme", conversation="chat-9")]
    assert [problem.status for problem in problems] == ["unreadable"]
    assert "include_usage" in problems[0].detail


class Helper:
    """A manager like Anthropic's messages.stream(): what it enters is read by its texts and keeps a snapshot."""

    current_message_snapshot = MESSAGE
    text_stream = ("one", "two")
    left = 0

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.left += 1

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc):
        self.left += 1


def test_a_helper_read_by_its_texts_is_recorded_from_its_snapshot(parley, door):
    helper = Helper()
    with parley.stream(helper, customer="acme", conversation="chat-9") as stream:
        assert [*stream.text_stream] == ["one", "two"]

    async def again():
        async with parley.stream(helper, customer="acme", conversation="chat-10") as stream:
            assert [*stream.text_stream] == ["one", "two"]

    asyncio.run(again())
    assert parley.flush(5)
    assert (helper.left, [*door.events]) == (2, [MESSAGE["id"]])
