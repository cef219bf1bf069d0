"""The wire: what a stranger may make us read, keep or raise."""

from __future__ import annotations

import contextlib
import json
import tracemalloc
import zlib
from io import BytesIO
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickmw import wire
from clickmw.wire import (
    BODY_LIMIT,
    DEPTH_LIMIT,
    FIELDS_LIMIT,
    BadRequest,
    Reply,
    Request,
    clean_text,
    credentialed_cors,
    first,
    json_reply,
    pairs,
    parse_json,
    read_body,
    repeats,
    scheme_of,
    whole_number,
)


class Socket(BytesIO):
    """A connection that counts what is read from it; hands out at most *piece* bytes at once."""

    def __init__(self, body: bytes, piece: int = 1 << 30) -> None:
        super().__init__(body)
        self.piece = piece

    def read(self, size: int | None = -1) -> bytes:
        assert size is not None
        assert size >= 0, "an unbounded read"
        return super().read(min(size, self.piece))


def sent(body: bytes = b"", piece: int = 1 << 30, **changes: Any) -> dict[str, Any]:
    """Return the environ of a POST with *body*; keywords are more of it."""
    return {"REQUEST_METHOD": "POST", "wsgi.input": Socket(body, piece), **changes}


# -- bodies ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [1 << 30, 3], ids=["at once", "in pieces"])
@pytest.mark.parametrize(
    "stated",
    [
        pytest.param({"CONTENT_LENGTH": "11"}, id="stated length"),
        pytest.param({"wsgi.input_terminated": True}, id="chunked, ended by the server"),
        pytest.param({"CONTENT_LENGTH": "11", "HTTP_CONTENT_ENCODING": "identity"}, id="identity"),
    ],
)
def test_a_body_is_read_whole(stated: dict[str, Any], piece: int) -> None:
    assert read_body(sent(b"hello world", piece, **stated)) == b"hello world"


def test_without_a_length_there_is_no_body() -> None:
    assert read_body(sent(b"the next request", CONTENT_LENGTH="")) == b""


def test_nothing_beyond_the_stated_length_is_read() -> None:
    environ = sent(b"hello world", CONTENT_LENGTH="5")
    assert read_body(environ) == b"hello"
    assert environ["wsgi.input"].tell() == 5


@pytest.mark.parametrize(
    ("changes", "status", "read"),
    [
        pytest.param({"CONTENT_LENGTH": "1000000000000"}, 413, 0, id="a terabyte"),
        pytest.param({"CONTENT_LENGTH": "9" * 5000}, 413, 0, id="a length no int can be made of"),
        pytest.param({"CONTENT_LENGTH": str(BODY_LIMIT + 1)}, 413, 0, id="one too many"),
        pytest.param({"CONTENT_LENGTH": "-1"}, 400, 0, id="negative"),
        pytest.param({"CONTENT_LENGTH": "abc"}, 400, 0, id="a word"),
        pytest.param({"CONTENT_LENGTH": "1_0"}, 400, 0, id="as Python writes numbers"),
        pytest.param({"CONTENT_LENGTH": "\u0663"}, 400, 0, id="an Arabic digit"),
        pytest.param({"CONTENT_LENGTH": "12"}, 400, 11, id="lies: cut short"),
        pytest.param({"HTTP_TRANSFER_ENCODING": "chunked"}, 411, 0, id="chunked without an end"),
        pytest.param(
            {"CONTENT_LENGTH": "11", "HTTP_CONTENT_ENCODING": "gzip"}, 415, 0, id="compressed"
        ),
        pytest.param(
            {"wsgi.input_terminated": True, "HTTP_CONTENT_ENCODING": "br"}, 415, 0, id="packed"
        ),
    ],
)
def test_a_body_that_cannot_be_read_is_refused(
    changes: dict[str, Any], status: int, read: int
) -> None:
    environ = sent(b"hello world", **changes)
    with pytest.raises(BadRequest) as caught:
        read_body(environ)
    assert (caught.value.status, environ["wsgi.input"].tell()) == (status, read)


def test_of_an_endless_body_one_byte_beyond_the_limit_is_read() -> None:
    environ = sent(b"x" * 3 * BODY_LIMIT, **{"wsgi.input_terminated": True})
    with pytest.raises(BadRequest) as caught:
        read_body(environ)
    assert (caught.value.status, environ["wsgi.input"].tell()) == (413, BODY_LIMIT + 1)


@given(
    st.binary(max_size=40),
    st.one_of(st.none(), st.text(alphabet="0123456789-+ x", max_size=6)),
    st.booleans(),
)
def test_never_more_than_the_limit_and_a_byte_is_read(
    body: bytes, length: str | None, ends: bool
) -> None:
    environ = sent(body, **{"CONTENT_LENGTH": length, "wsgi.input_terminated": ends})
    with contextlib.suppress(BadRequest):
        assert len(read_body(environ, limit=10)) <= 10
    assert environ["wsgi.input"].tell() <= 11


def test_a_bomb_is_not_even_unpacked() -> None:
    bomb = zlib.compress(bytes(50_000_000), wbits=31)
    environ = sent(bomb, CONTENT_LENGTH=str(len(bomb)), HTTP_CONTENT_ENCODING="gzip")
    tracemalloc.start()
    try:
        with pytest.raises(BadRequest) as caught:
            read_body(environ)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
    assert caught.value.status == 415


@pytest.mark.parametrize("error", [OSError("connection reset"), ValueError("closed file")], ids=str)
def test_a_connection_that_breaks_is_a_bad_request(error: Exception) -> None:
    class Broken(BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise error

    with pytest.raises(BadRequest) as caught:
        read_body({"wsgi.input": Broken(), "CONTENT_LENGTH": "5"})
    assert caught.value.status == 400


# -- JSON ------------------------------------------------------------------------------------------


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b'{"a":NaN}', id="no number"),
        pytest.param(b"-Infinity", id="infinity"),
        pytest.param(b"1e999", id="a number that becomes infinite"),
        pytest.param(b"[-1E+999]", id="a number that becomes minus infinity"),
        pytest.param(b"1" * 5000, id="five thousand digits"),
        pytest.param(b'"\\ud800"', id="half a character"),
        pytest.param(b'{"\\udfff":1}', id="half a character as a name"),
        pytest.param(b'["a","\\ude00\\ud83d"]', id="two halves in the wrong order"),
        pytest.param(b'"\xed\xa0\x80"', id="half a character as bytes"),
        pytest.param(b'{"key":"a","key":"b"}', id="a name twice"),
        pytest.param(b'{"p":[{"key":1,"key":1}]}', id="a name twice inside"),
        pytest.param(b'{"key":1,"k\\u0065y":2}', id="a name twice, spelt two ways"),
        pytest.param(nested(DEPTH_LIMIT + 1), id="one level too deep"),
        pytest.param(b'{"a":' * 33 + b"1" + b"}" * 33, id="objects too deep"),
        pytest.param(nested(800), id="hundreds of levels"),
        pytest.param(nested(30_000), id="deeper than a parser bears"),
        pytest.param(b"[" * 60_000, id="never closed"),
        pytest.param(b"", id="nothing"),
        pytest.param(b" ", id="a blank"),
        pytest.param(b"{", id="a beginning"),
        pytest.param(b"{}x", id="something after it"),
        pytest.param(b"{'a':1}", id="single quotes"),
        pytest.param(b'"\x00"', id="a control character as it is"),
        pytest.param(b"\xff\xfe", id="no UTF-8"),
        pytest.param('{"a":1}'.encode("utf-16"), id="UTF-16"),
        pytest.param('{"a":1}'.encode("utf-32-le"), id="UTF-32"),
        pytest.param(b"\xef\xbb\xbf\xef\xbb\xbf{}", id="two byte order marks"),
    ],
)
def test_odd_json_is_refused(text: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_json(text)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param(b"\xef\xbb\xbf[1]", [1], id="a byte order mark"),
        pytest.param(b'"\\ud83d\\ude00"', "\U0001f600", id="two halves of one character"),
        pytest.param(b'"\\u0000"', "\0", id="an escaped control character"),
        pytest.param(b"1e300", 1e300, id="a large number"),
        pytest.param('"h\xe9"'.encode(), "h\xe9", id="UTF-8"),
        pytest.param(b'"' + b"[" * 100 + b'"', "[" * 100, id="brackets in a text"),
        pytest.param(b"[" + b"[]," * 100 + b"{}]", [[]] * 100 + [{}], id="many side by side"),
    ],
)
def test_unusual_json_is_read(text: bytes, value: Any) -> None:
    assert parse_json(text) == value


def test_the_deepest_json_there_may_be_is_read() -> None:
    assert parse_json(nested(DEPTH_LIMIT)) == json.loads(nested(DEPTH_LIMIT))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=25,
)  # fmt: skip


@given(JSON, st.booleans())
def test_what_json_can_say_comes_back_as_it_was(value: Any, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "replace")
    assert parse_json(text) == json.loads(text)


@given(st.binary(max_size=200))
def test_any_bytes_are_json_or_a_bad_request(text: bytes) -> None:
    try:
        parse_json(text)
    except BadRequest:
        return
    json.loads(text.decode("utf-8-sig"))


# -- forms and query strings -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(b"", [], id="nothing"),
        pytest.param(b"a=1&b=2&a=3", [("a", "1"), ("b", "2"), ("a", "3")], id="in order"),
        pytest.param(b"a=&b", [("a", ""), ("b", "")], id="blank values"),
        pytest.param(b"q=tax+form%20%26", [("q", "tax form &")], id="escapes"),
        pytest.param(b"a=b=c", [("a", "b=c")], id="an equals sign in a value"),
        pytest.param(b"&&a=1&", [("a", "1")], id="empty pairs"),
        pytest.param(b"a=1;b=2", [("a", "1;b=2")], id="a semicolon is text"),
        pytest.param("q=h%C3%A9llo w\xf6rld".encode(), [("q", "h\xe9llo w\xf6rld")], id="UTF-8"),
        pytest.param(b"q=%FF", [("q", "\ufffd")], id="no UTF-8"),
        pytest.param(b"q=\xff", [("q", "\ufffd")], id="no UTF-8, as bytes"),
        pytest.param(b"q=%ED%A0%80", [("q", "\ufffd" * 3)], id="half a character"),
        pytest.param(b"q=%C0%AF", [("q", "\ufffd" * 2)], id="a slash written too long"),
        pytest.param(b"q=%00", [("q", "\0")], id="NUL"),
        pytest.param(b"q=%&r=%4&s=%zz", [("q", "%"), ("r", "%4"), ("s", "%zz")], id="no escapes"),
    ],
)
def test_a_form_is_read_in_order(text: bytes, expected: list[tuple[str, str]]) -> None:
    assert pairs(text) == expected


def test_as_many_parameters_as_allowed_are_read() -> None:
    assert len(pairs(b"&".join([b"a=1"] * FIELDS_LIMIT))) == FIELDS_LIMIT
    with pytest.raises(BadRequest, match="more than 200"):
        pairs(b"&".join([b"a=1"] * (FIELDS_LIMIT + 1)))


@given(st.lists(st.sampled_from((*b"a=&+%2FfZ", 0xC3, 0xA9, 0xFF, 0))).map(bytes))
def test_a_form_is_read_as_the_standard_library_reads_it(text: bytes) -> None:
    expected = parse_qsl(text.decode("utf-8", "replace"), keep_blank_values=True)
    assert pairs(text) == expected


@given(st.binary(max_size=120))
def test_any_bytes_are_a_form_of_whole_characters(text: bytes) -> None:
    for name, value in pairs(text):
        (name + value).encode()


def test_of_a_repeated_parameter_the_first_is_taken_and_the_repetition_is_seen() -> None:
    fields = pairs(b"position=1&key=a&position=999")
    assert first(fields, "position") == "1"
    assert first(fields, "query") is None
    assert repeats(fields, "position")
    assert not repeats(fields, "key")


# -- requests --------------------------------------------------------------------------------------


def test_a_request_is_read_once() -> None:
    environ = sent(b'{"a":1}', CONTENT_LENGTH="7", QUERY_STRING="b=2&b=3")
    request = Request(environ, {})
    assert (request.json(), request.body(), request.query) == (
        {"a": 1},
        b'{"a":1}',
        [("b", "2"), ("b", "3")],
    )
    assert request.json() == {"a": 1}
    assert request.query is request.query


def test_a_body_is_a_form_where_that_is_asked_for() -> None:
    request = Request(sent(b"a=1&b=x+y&a=2", CONTENT_LENGTH="13"), {})
    assert request.form() == [("a", "1"), ("b", "x y"), ("a", "2")]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("User-Agent", "curl/8.5"),
        ("content-type", "Text/Plain; charset=UTF-8"),
        ("Origin", ""),
    ],
)
def test_a_header_is_known_by_its_name_on_the_wire(name: str, value: str) -> None:
    environ = sent(HTTP_USER_AGENT="curl/8.5", CONTENT_TYPE="Text/Plain; charset=UTF-8")
    assert Request(environ, {}).header(name) == value
    assert Request(environ, {}).media_type == "text/plain"


def test_open_parts_of_a_path_are_text() -> None:
    given_by_wsgi = "caf\xe9-\u0430".encode().decode("latin-1")
    assert Request(sent(), {"ad_id": given_by_wsgi, "other": "plain"}).names == {
        "ad_id": "caf\xe9-\u0430",
        "other": "plain",
    }


# -- replies ---------------------------------------------------------------------------------------


def answered(reply: Reply, method: str = "POST") -> tuple[str, list[tuple[str, str]], bytes]:
    started: list[Any] = []
    body = reply.send({"REQUEST_METHOD": method}, lambda *said: started.extend(said))
    return started[0], started[1], b"".join(body)


def test_a_reply_states_its_length() -> None:
    assert answered(Reply(200)) == ("200 OK", [("Content-Length", "0")], b"")
    assert answered(Reply(404, b"none"), "HEAD") == (
        "404 Not Found",
        [("Content-Length", "4")],
        b"",
    )


def test_no_content_has_neither_length_nor_type() -> None:
    assert answered(Reply(204)) == ("204 No Content", [], b"")


def test_json_goes_out_compact_and_as_utf8() -> None:
    status, headers, body = answered(json_reply(422, ["<é>", {"a": None}], [("Vary", "Origin")]))
    assert status == "422 Unprocessable Content"
    assert body == '["<é>",{"a":null}]'.encode()
    assert headers == [
        ("Content-Type", "application/json"),
        ("Vary", "Origin"),
        ("Content-Length", str(len(body))),
    ]


def test_what_is_no_json_never_goes_out_as_json() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        json_reply(200, float("nan"))


@pytest.mark.parametrize("status", sorted(wire._REASONS))
def test_every_status_is_called_as_its_standard_calls_it(status: int) -> None:
    from http import HTTPStatus

    since_renamed = {413: "Content Too Large", 422: "Unprocessable Content"}
    assert wire._REASONS[status] == since_renamed.get(status, HTTPStatus(status).phrase)


# -- texts and numbers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        pytest.param("  Form A ", "Form A", id="blanks around"),
        pytest.param("a\0b", "a b", id="NUL"),
        pytest.param("a\r\n\tb", "a b", id="line breaks"),
        pytest.param("a\x1b[31mb", "a [31mb", id="a terminal's escape"),
        pytest.param("a\x85\u2028b", "a b", id="breaks of other systems"),
        pytest.param("a\ud800b", "a b", id="half a character"),
        pytest.param("a\u202etxt.exe", "a txt.exe", id="reading direction turned"),
        pytest.param("\u0645\u06cc\u200c\u062e", "\u0645\u06cc\u200c\u062e", id="Persian joiner"),
        pytest.param(
            "\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469", id="a joined emoji"
        ),
        pytest.param("a\u00a0b", "a\u00a0b", id="a blank that does not break"),
        pytest.param("x" * 11, "x" * 10, id="too long"),
        pytest.param("\0" * 1_000_000 + "x", "", id="much of nothing"),
    ],
)
def test_a_text_is_cleaned(text: str, kept: str) -> None:
    assert clean_text(text, 10) == kept


@given(st.text(alphabet=st.characters(codec=None)), st.integers(0, 30))
def test_a_clean_text_can_be_stored_and_stays_clean(text: str, limit: int) -> None:
    cleaned = clean_text(text, limit)
    cleaned.encode()
    assert len(cleaned) <= limit
    assert "\0" not in cleaned
    assert clean_text(cleaned, limit) == cleaned


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (7, 7),
        ("7", 7),
        (" 07 ", 7),
        ("-4", -4),
        (7.0, 7),
        (0, 0),
        (1.5, None),
        ("1.0", None),
        ("+7", None),
        ("--7", None),
        ("-", None),
        ("", None),
        ("1e3", None),
        ("1_0", None),
        ("\u0663", None),
        ("\xb2", None),
        ("9" * 21, None),
        (True, None),
        (None, None),
        ([], None),
        ({}, None),
    ],
    ids=repr,
)
def test_a_whole_number_is_read_from_number_or_text(value: object, number: int | None) -> None:
    assert whole_number(value) == number


@pytest.mark.parametrize(
    ("proxies", "forwarded", "scheme"),
    [
        pytest.param(0, "https", "http", id="a stranger's word"),
        pytest.param(1, "https", "https", id="our proxy's word"),
        pytest.param(1, "http, HTTPS ", "https", id="the nearest proxy's"),
        pytest.param(1, "gopher", "http", id="no scheme of the web"),
        pytest.param(1, "", "http", id="nothing"),
    ],
)
def test_the_scheme_is_what_a_trusted_proxy_says(proxies: int, forwarded: str, scheme: str) -> None:
    environ = {"wsgi.url_scheme": "http", "HTTP_X_FORWARDED_PROTO": forwarded}
    assert scheme_of(environ, proxies) == scheme


@pytest.mark.parametrize("origin", ["", "https://a.example\r\nX: y", "https://\xe4.example"])
def test_an_origin_that_is_none_is_not_repeated(origin: str) -> None:
    assert credentialed_cors(Request({"REQUEST_METHOD": "POST", "HTTP_ORIGIN": origin}, {})) == [
        ("Vary", "Origin")
    ]


def test_an_origin_is_allowed_by_name() -> None:
    request = Request({"REQUEST_METHOD": "POST", "HTTP_ORIGIN": "https://a.example"}, {})
    assert credentialed_cors(request) == [
        ("Access-Control-Allow-Origin", "https://a.example"),
        ("Access-Control-Allow-Credentials", "true"),
        ("Vary", "Origin"),
    ]


def test_a_refusal_names_what_was_read() -> None:
    with pytest.raises(BadRequest, match=r"^data is not JSON$"):
        parse_json(b"{", "data")
