"""What a response says of its call: id, provider, model, usage, from dicts and from objects, and never its content."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley_client.problems import UnreadableResponse
from parley_client.responses import LONGEST_ID, Call, identity, read
from tests.clients.shapes import BEDROCK, CHAT, DEEPSEEK, EMBEDDINGS, GEMINI, MESSAGE, RESPONSE, as_object

READ_AS = [
    (CHAT, Call(CHAT["id"], "openai", "gpt-5", CHAT["usage"])),
    (RESPONSE, Call(RESPONSE["id"], "openai", "gpt-5", RESPONSE["usage"])),
    (MESSAGE, Call(MESSAGE["id"], "anthropic", "claude-sonnet-4-5-20250929", MESSAGE["usage"])),
    (GEMINI, Call(GEMINI["responseId"], "google", "gemini-2.5-flash", GEMINI["usageMetadata"])),
    (DEEPSEEK, Call(DEEPSEEK["id"], "deepseek", "deepseek-chat", DEEPSEEK["usage"])),
    (EMBEDDINGS, Call(None, "openai", "text-embedding-3-small", EMBEDDINGS["usage"], "embedding")),
    (BEDROCK, Call("d6a1c5f7-0c1e-4a53-8f38-6e1b1a9bb1f0", "aws", None, BEDROCK["usage"])),
]


class Pydantic:
    """The SDKs' usage objects, as far as they are asked."""

    def __init__(self, fields):
        self._fields = fields

    def model_dump(self, *, mode, by_alias, exclude_unset):
        assert (mode, by_alias, exclude_unset) == ("json", True, True)
        return self._fields


@pytest.mark.parametrize(("response", "call"), READ_AS, ids=[call.provider for _, call in READ_AS])
def test_a_response_tells_its_call(response, call):
    assert read(response) == call


@pytest.mark.parametrize(("response", "call"), READ_AS[:5], ids=[call.provider for _, call in READ_AS[:5]])
def test_the_object_of_an_sdk_tells_the_same(response, call):
    name = next(name for name in ("usage", "usageMetadata") if name in response)
    sdk_object = as_object({**response, name: None})
    setattr(sdk_object, name, Pydantic(response[name]))
    assert read(sdk_object) == call


def test_the_last_chunk_or_event_of_a_stream_is_enough():
    assert read({"type": "response.completed", "response": RESPONSE}).id == RESPONSE["id"]
    assert read({**CHAT, "object": "chat.completion.chunk", "choices": []}).id == CHAT["id"]


@pytest.mark.parametrize(
    "response", [{**CHAT, "usage": None}, {**CHAT, "usage": {}}, {**CHAT, "usage": 7}, {}, "text", None, 5, object()]
)
def test_without_usage_there_is_no_call(response):
    with pytest.raises(UnreadableResponse, match="usage"):
        read(response)


@given(st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner)))
def test_nothing_but_an_unreadable_response_comes_of_anything_else(thing):
    with pytest.raises(UnreadableResponse):
        read(thing)


def test_an_unknown_shape_leaves_the_provider_to_be_named():
    assert read({"id": "x" * 20, "model": "m", "usage": {"prompt_tokens": 1}}).provider is None


def test_an_id_that_hardly_tells_calls_apart_is_none():
    assert identity("chatcmpl-617") is None  # Ollama's
    assert identity(None) is None


def test_an_id_too_long_for_an_event_becomes_its_digest():
    assert identity("a" * LONGEST_ID) == "a" * LONGEST_ID
    long, longer = identity("a" * (LONGEST_ID + 1)), identity("a" * (LONGEST_ID + 2))
    assert len(long) == 64 and long != longer
