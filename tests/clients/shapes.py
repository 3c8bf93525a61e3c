"""Responses as the providers' APIs give them: the fields that matter here, and texts that must not leave the process.

The shapes are those of the APIs' JSON, which the SDKs' objects mirror by attribute.
"""

import json
from types import SimpleNamespace
from typing import Any

SECRET = "what was said stays here"

OPENAI_USAGE = {
    "prompt_tokens": 2006,
    "completion_tokens": 300,
    "total_tokens": 2306,
    "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 128, "audio_tokens": 0},
}
CHAT = {
    "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
    "object": "chat.completion",
    "created": 1795211436,
    "model": "gpt-5",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": SECRET}, "finish_reason": "stop"}],
    "usage": OPENAI_USAGE,
}
RESPONSE = {
    "id": "resp_67ccd2bed1ec8190b14f964abc0542670bb6a6b452d3795b",
    "object": "response",
    "model": "gpt-5",
    "output": [{"type": "message", "content": [{"type": "output_text", "text": SECRET}]}],
    "usage": {
        "input_tokens": 2006,
        "input_tokens_details": {"cached_tokens": 1920},
        "output_tokens": 300,
        "output_tokens_details": {"reasoning_tokens": 128},
        "total_tokens": 2306,
    },
}
MESSAGE = {
    "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5-20250929",
    "content": [{"type": "text", "text": SECRET}],
    "usage": {
        "input_tokens": 86,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 1920,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": 300,
        "service_tier": "standard",
    },
}
GEMINI = {
    "responseId": "oLQfaOKzLdSFz7IPudHzuQ4",
    "modelVersion": "gemini-2.5-flash",
    "candidates": [{"content": {"parts": [{"text": SECRET}], "role": "model"}}],
    "usageMetadata": {
        "promptTokenCount": 2006,
        "cachedContentTokenCount": 1920,
        "candidatesTokenCount": 172,
        "thoughtsTokenCount": 128,
        "totalTokenCount": 2306,
    },
}
DEEPSEEK = {
    "id": "930c60df-bf64-41c9-a88e-3ec75f81e00e",
    "object": "chat.completion",
    "model": "deepseek-chat",
    "choices": [{"message": {"role": "assistant", "content": SECRET}}],
    "usage": {
        "prompt_tokens": 2006,
        "prompt_cache_hit_tokens": 1920,
        "prompt_cache_miss_tokens": 86,
        "completion_tokens": 300,
        "total_tokens": 2306,
        "completion_tokens_details": {"reasoning_tokens": 128},
    },
}
EMBEDDINGS = {
    "object": "list",
    "model": "text-embedding-3-small",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.1]}],
    "usage": {"prompt_tokens": 86, "total_tokens": 86},
}
BEDROCK = {
    "ResponseMetadata": {"RequestId": "d6a1c5f7-0c1e-4a53-8f38-6e1b1a9bb1f0"},
    "output": {"message": {"content": [{"text": SECRET}]}},
    "usage": {"inputTokens": 86, "outputTokens": 300, "totalTokens": 386},
}

CHAT_CHUNKS = [
    {
        "id": CHAT["id"],
        "object": "chat.completion.chunk",
        "model": "gpt-5",
        "choices": [{"index": 0, "delta": {"content": SECRET}}],
        "usage": None,
    },
    {"id": CHAT["id"], "object": "chat.completion.chunk", "model": "gpt-5", "choices": [], "usage": OPENAI_USAGE},
]
RESPONSE_EVENTS = [
    {"type": "response.created", "response": {**RESPONSE, "usage": None, "output": []}},
    {"type": "response.output_text.delta", "delta": SECRET},
    {"type": "response.completed", "response": RESPONSE},
]
MESSAGE_EVENTS = [
    {"type": "message_start", "message": {**MESSAGE, "content": [], "usage": {**MESSAGE["usage"], "output_tokens": 1}}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": SECRET}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 300}},
    {"type": "message_stop"},
]
GEMINI_CHUNKS = [
    {**GEMINI, "usageMetadata": {"promptTokenCount": 2006, "cachedContentTokenCount": 1920, "totalTokenCount": 2006}},
    GEMINI,
]


def as_object(shape: Any) -> Any:
    """The same by attribute, as the SDKs have it."""
    return json.loads(json.dumps(shape), object_hook=lambda fields: SimpleNamespace(**fields))
