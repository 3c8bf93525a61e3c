"""Answers come whole where they are whole, piece by piece where they are streams, and errors are the loop's to see."""

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.http import HttpResponse, StreamingHttpResponse

from config.whole_answers import WholeAnswers

SCOPE = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "http_version": "1.1", "headers": []}


def app(answer: Callable[[], Any]) -> Callable[..., Any]:
    def answering(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        made = answer()
        start_response("200 OK", list(made.items()))
        return made

    return answering


async def receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"all that was sent", "more_body": False}


def sent_by(answer: Callable[[], Any]) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(in_time(WholeAnswers(app(answer), workers=1)(SCOPE, receive, send)))
    return sent


async def in_time(answering: Any) -> None:
    await asyncio.wait_for(answering, 5)


def test_a_whole_answer_is_one_message_and_is_closed() -> None:
    answer = HttpResponse(b"all of it")
    start, body = sent_by(lambda: answer)
    assert (start["type"], start["status"]) == ("http.response.start", 200)
    assert body == {"type": "http.response.body", "body": b"all of it"}
    assert answer.closed


def test_a_stream_comes_piece_by_piece() -> None:
    def pieces() -> Iterator[bytes]:
        for number in range(30):
            yield b"%d," % number

    start, *bodies = sent_by(lambda: StreamingHttpResponse(pieces()))
    assert start["type"] == "http.response.start"
    assert [each["body"] for each in bodies] == [b"%d," % number for number in range(30)] + [b""]
    assert [each.get("more_body", False) for each in bodies] == [True] * 30 + [False]


def test_what_was_sent_is_read() -> None:
    def echoing(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        start_response("200 OK", [])
        return HttpResponse(environ["wsgi.input"].read(17))

    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(in_time(WholeAnswers(echoing, workers=1)(SCOPE, receive, send)))
    assert sent[1]["body"] == b"all that was sent"


def test_a_stream_whose_client_is_gone_is_closed() -> None:
    answer = StreamingHttpResponse(b"," for _ in range(30))

    async def gone(message: dict[str, Any]) -> None:
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        asyncio.run(in_time(WholeAnswers(app(lambda: answer), workers=1)(SCOPE, receive, gone)))
    assert answer.closed


def test_a_stream_ends_with_its_request() -> None:
    closed = threading.Event()

    class Endless(StreamingHttpResponse):
        def close(self) -> None:
            super().close()
            closed.set()

    async def left_alone() -> None:
        flowing = asyncio.Event()

        async def send(message: dict[str, Any]) -> None:
            flowing.set()

        answers = WholeAnswers(app(lambda: Endless(b"," for _ in itertools.count())), workers=1)
        request = asyncio.create_task(in_time(answers(SCOPE, receive, send)))
        await flowing.wait()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request

    asyncio.run(left_alone())
    assert closed.wait(5), "the thread still waits for somebody to take what it has"


def test_what_is_raised_reaches_the_server() -> None:
    def broken() -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        sent_by(broken)
