"""Whether a failed call used nothing, or nobody knows what."""

import pytest

from metering.doors.refusals import was_refused


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        ("RateLimitError", None, ""),
        ("<class 'openai.RateLimitError'>", None, ""),
        ("openai.BadRequestError", None, ""),
        ("429", None, ""),
        ("SomeError", 503, ""),
        ("SomeError", None, "Error code: 529 - overloaded"),
        ("", None, "HTTP/1.1 401 Unauthorized"),
    ],
)
def test_an_answer_with_an_error_status_used_nothing(error: str, status: int | None, message: str) -> None:
    assert was_refused(error, status=status, message=message)


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        ("openai.APITimeoutError", None, "Error code: 429"),
        ("litellm.APIConnectionError", 500, ""),
        ("asyncio.CancelledError", None, ""),
        ("Timeout", 408, ""),
        ("SomeError", 504, ""),
        ("ValueError", None, ""),
        ("", None, ""),
        ("SomeError", None, "it took 429 ms"),
    ],
)
def test_what_was_broken_off_or_says_nothing_may_have_been_paid_for(
    error: str, status: int | None, message: str
) -> None:
    assert not was_refused(error, status=status, message=message)
