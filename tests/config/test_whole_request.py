"""What does the short way take for itself? Only what the parser would read likewise, and that of most clients."""

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config import event_protocol
from config.event_protocol import whole_request
from metering import door
from tests.config.lines import LONG, Desk, as_sent, desk
from tests.metering.conftest import committed, default_scheme_afterwards, no_remembered_rates
from tests.metering.loops import loop

__all__ = ["committed", "default_scheme_afterwards", "desk", "loop", "no_remembered_rates"]


class Parsed:
    """A request as the parser reads it."""

    def __init__(self, data: bytes) -> None:
        self.url = self.body = b""
        self.headers: list[tuple[str, str]] = []
        self.complete = 0
        self.parser = httptools.HttpRequestParser(self)
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.decode("ascii").lower(), value.decode("latin-1").strip(" \t")))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete += 1


NAMES = (
    *("Host", "Content-Type", "Content-Length", "Content-Encoding", "Authorization", "Connection", "Proxy-Connection"),
    *("Transfer-Encoding", "Expect", "Upgrade", "TE", "Trailer", "X-Any", "content-length", "CONTENT-TYPE", "Host\t"),
    *("Content-Length ", " Host", "", "X:", "Content_Length", "X\x00", "X\r", "H\xf6st", "x" * 65),
)
VALUES = (
    *("", "2", " 2", "2 ", "02", "+2", "-2", "2_0", "0x2", "2,2", "2;", "0", "3", "99999999999999999999999"),
    *("localhost", "application/json", "gzip", "keep-alive", "Keep-Alive", "close", "keep-alive, close", "chunked"),
    *(
        "identity",
        "100-continue",
        "websocket",
        "a\tb",
        "a\x00",
        "a\x0b",
        "a\rb",
        "a\nb",
        "a\r\n b",
        "\x7f",
        "\xff",
        "\t",
    ),
)
ENDS = ("\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r", "\r\n ", "\r\n\t", "\r\n\r\n", "")
lines = st.builds(
    lambda name, colon, value, end: f"{name}{colon}{value}{end}",
    st.sampled_from(NAMES),
    st.sampled_from([":", ": ", ": ", ":\t", " :", ""]),
    st.sampled_from(VALUES),
    st.sampled_from(ENDS),
)
starts = st.sampled_from(
    ["POST /v1/events HTTP/1.1\r\n"] * 8
    + ["POST /v1/events HTTP/1.0\r\n", "post /v1/events HTTP/1.1\r\n", "POST /v1/events?a=b HTTP/1.1\r\n"]
    + ["POST  /v1/events HTTP/1.1\r\n", "\r\nPOST /v1/events HTTP/1.1\r\n", "POST /v1/events HTTP/1.1\n"]
)
fields = st.lists(st.one_of(lines, st.sampled_from(["Content-Length: 2\r\n", "Host: a\r\n"])), max_size=5)
requests = st.builds(
    lambda start, head, end, body: "".join([start, *head, end, body]).encode("latin-1", "replace"),
    starts,
    fields,
    st.sampled_from(["\r\n", "\r\n", "\r\n", "\n", ""]),
    st.sampled_from(["{}", "{}", "{}", "", "{}x", "\r\n\r\n", "\r\n"]),
)


@settings(max_examples=800)
@given(data=requests)
def test_what_the_short_way_takes_the_parser_reads_likewise(data: bytes) -> None:
    sent = whole_request(data)
    if sent is None:
        return
    parsed = Parsed(data)
    assert (parsed.complete, parsed.parser.get_method(), parsed.parser.get_http_version()) == (1, b"POST", "1.1")
    assert (parsed.url, parsed.body) == (b"/v1/events", sent.body)
    assert parsed.parser.should_keep_alive() and not parsed.parser.should_upgrade()
    read = door.joined([(name.encode(), value.encode()) for name, value in parsed.headers])
    taken = (sent.authorization, sent.content_type, sent.content_encoding, sent.host)
    assert taken == tuple(read.get(name) for name in ("authorization", "content-type", "content-encoding", "host"))
    assert not {"transfer-encoding", "expect", "upgrade"} & read.keys()


@pytest.mark.parametrize("headers", [(), LONG], ids=["short", "long"])
def test_blanks_around_what_a_header_says_mean_nothing(desk: Desk, headers: tuple[str, ...]) -> None:
    whole = desk.event("e1", *headers)
    for name in (b"Host: ", b"Authorization: ", b"Content-Type: ", b"Content-Length: "):
        start = whole.index(name) + len(name)
        end = whole.index(b"\r\n", start)
        whole = whole[:start] + b"  " + whole[start:end] + b" " + whole[end:]
    assert (whole_request(whole) is None) == bool(headers)
    assert desk.run(desk.run(desk.line(whole)).answer()).status == 200


def test_the_short_way_takes_what_clients_send() -> None:
    for headers in ((), ("User-Agent: curl/8.5.0", "Accept: */*"), ("Connection: keep-alive", "Accept-Encoding: gzip")):
        whole = as_sent(b"{}", *headers)
        sent = whole_request(whole)
        assert sent is not None
        assert (sent.body, sent.host, sent.authorization) == (b"{}", "localhost", "Bearer nonsense")
        assert whole_request(whole + b"P") is whole_request(whole[:-1]) is None


def test_the_short_way_takes_bodies_and_heads_up_to_their_limits() -> None:
    assert whole_request(as_sent(b" " * event_protocol.BODY_LIMIT)) is not None
    assert whole_request(as_sent(b" " * (event_protocol.BODY_LIMIT + 1))) is None
    head = len(as_sent(b"", "X-A: ")) - 2
    most = event_protocol.HEAD_LIMIT - head
    assert whole_request(as_sent(b"", f"X-A: {'a' * most}")) is not None
    assert whole_request(as_sent(b"", f"X-A: {'a' * (most + 1)}")) is None


@pytest.mark.parametrize(
    "headers",
    [
        [f"X-{n}: of many" for n in range(65)],
        [*(f"X-{n}: a" for n in range(40)), "X-Name: Zoë"],
        ["X-A: " + " " * 900] * 9,
    ],
    ids=["many", "one in UTF-8", "blanks"],
)
def test_a_head_that_the_parser_has_to_read_is_known_at_once(headers: list[str]) -> None:
    """Tried in every way it can be cut, such a head would not be known within a lifetime."""
    assert whole_request(as_sent(b"{}", *headers, "X-Tab: a\tb")) is None
