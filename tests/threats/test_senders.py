"""What strangers send: forged, flooded, too large, too deep, mangled. Kept as far as it is true."""

from __future__ import annotations

import io
import json
import random
import re
import sys
import tracemalloc
import zlib
from base64 import b64encode
from collections.abc import Callable
from typing import Any
from unicodedata import category
from urllib.parse import urlencode

import pytest

from clickmw.ad_urls import Ad
from clickmw.buckets import TokenBuckets
from clickmw.events import new_query_id
from clickmw.recorder import RateLimit, now_ms
from clickmw.visitors import client_address
from clickmw.wire import BODY_LIMIT, read_body

threat = pytest.mark.threat

SITE = {
    "handle": "shop",
    "hosts": ["www.example.org"],
    "access_key": "an access key",
    "index_key": "an-index-key",
    "tracking_key": "a tracking key",
    "publisher": {"id": 45, "name": "Shop"},
    "api_keys": [{"key": "a read key of this shop", "scope": "read"}],
}
GOV = {
    "url": "https://a.example/",
    "query": "tax form",
    "position": "1",
    "affiliate": "shop",
    "module_code": "BWEB",
    "access_key": "an access key",
}
STAX = {
    "event": "_searchclick",
    "properties": {
        "key": "a tracking key",
        "_vid": "v1",
        "session": "s1",
        "query": "tax form",
        "cDocId": "https://a.example/",
        "cDocTitle": "A",
        "position": 1,
    },
}
ADD = {"action": "click", "session": "s1", "keyword": "tax form", "docid": "d1", "position": 1}
#: Name → path, a good payload, the field whose value is a position, and what a bad value answers.
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "searchgov": ("/_clicks/api/v2/click", GOV),
    "searchstax": ("/_clicks/api/v2/track/", STAX),
    "addsearch": ("/_clicks/v1/stats/an-index-key", ADD),
    "vtexads": ("/_clicks/v1/beacon/click/ad-1", {"user_id": "u", "session_id": "s"}),
}


@pytest.fixture
def shop(make: Callable[..., Any]) -> Any:
    """A site that speaks all click APIs."""
    return make(sites=[SITE], report_auth=lambda _environ: True)


def gov(site: Any, body: bytes | None = None, query: str = "", **environ: Any) -> Any:
    form = "application/x-www-form-urlencoded"
    sent = urlencode(GOV).encode() if body is None else body
    return site.ask("/_clicks/api/v2/click", "POST", sent, query, CONTENT_TYPE=form, **environ)


@threat("T-30", asvs="2.2.1")
def test_t30_what_a_browser_says_by_itself_is_told_from_what_we_signed(make: Any) -> None:
    site = make(report_auth=lambda _environ: True)
    said = {"t": "result", "u": "https://a.example/", "q": "tax", "i": new_query_id(now_ms())}
    forged = {"t": "click", "k": site.token().swapcase(), "i": new_query_id(now_ms())}
    assert [site.send(said).status, site.send(forged).status] == [204, 204]
    site.follow()
    assert site.rows("SELECT trust, counted FROM clicks ORDER BY event_id") == [
        ("anonymous", 1),
        ("signed", 1),
    ]
    shown = site.report("overview.json", "trust=signed").json["metrics"]["clicks"]["value"]
    assert shown == 1
    strict = make(count_trust=["signed"])
    strict.send(said)
    assert strict.rows("SELECT counted, drop_reason FROM clicks") == [(0, "trust")]


@threat("T-31", asvs="2.4.1")
def test_t31_a_flood_is_answered_and_not_kept(make: Any) -> None:
    site = make(redirect_rate=20, sites=[SITE])
    tokens = [site.token(f"https://other.example/{n}", site="shop") for n in range(400)]
    assert {site.follow(token).status for token in tokens} == {302}
    ledger = site.ledger()
    assert ledger["dropped"]["rate"] + ledger["stored"] == 400
    assert ledger["dropped"]["rate"] > 0
    # Ten times as much is allowed here: so little that the slowest machine asks for more.
    api = make(redirect_rate=1, sites=[SITE])
    answers = []
    while len(answers) < 2_000 and (not answers or answers[-1].status == 200):
        answers.append(gov(api))
    assert (answers[-1].status, answers[-1].headers["retry-after"]) == (429, "1")
    # Another one is not the flood.
    assert gov(api, REMOTE_ADDR="203.0.113.9").status == 200


@threat("T-31", asvs="15.2.2")
def test_t31_any_number_of_senders_needs_no_more_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RateLimit, "MOST", 500)
    rate, buckets, long = RateLimit(20), TokenBuckets(200, 2000), "x" * 2_000
    for number in range(25_000):
        rate.allows(f"2001:db8:{number:x}::/64", f"{number}{long}", 1)
        buckets.allows((f"key {number}", f"198.51.{number}"), 1.0)
        assert max(len(rate._by_address), len(rate._by_link)) <= 500
    assert max(map(sys.getsizeof, rate._by_link)) < 50
    assert len(buckets._full_at) <= 10_000
    # Who is refused anyway leaves no trace of what it asked for.
    rate = RateLimit(20)
    for number in range(400):
        rate.allows("198.51.100.7", f"{number}{long}", 1)
    assert len(rate._by_link) == 20


@threat("T-31", asvs="15.2.2")
def test_t31_what_is_remembered_of_strangers_is_short(site: Any) -> None:
    """Caches keep what they are given: long agents, hosts and paths are looked at and let go."""
    site.headers = [("Content-Type", "text/plain")]
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(100):
        long = f"{number}" + "x" * 100_000
        site.follow(HTTP_USER_AGENT=long, HTTP_HOST=long, HTTP_REFERER=f"https://{long}/")
        site.ask(f"/{long}", HTTP_HOST=long)
        site.send({"t": "result", "u": "/a"}, HTTP_HOST=f"{long}.example", HTTP_USER_AGENT=long)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 5_000_000  # a single cache of one of them would hold 10 MB


LENGTHS = [
    ({"CONTENT_LENGTH": "1" + "0" * 12}, 413),
    ({"CONTENT_LENGTH": "9" * 5000}, 413),
    ({"CONTENT_LENGTH": "-1"}, 400),
    ({"CONTENT_LENGTH": "abc"}, 400),
    ({"CONTENT_LENGTH": "1e3"}, 400),
    ({"CONTENT_LENGTH": "99999"}, 413),
    ({"CONTENT_LENGTH": "500"}, 400),
    ({"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked"}, 411),
]


class Endless(io.RawIOBase):
    """A body without an end; ``taken`` is how much of it was read."""

    taken = 0

    def read(self, size: int = -1) -> bytes:
        assert size >= 0
        self.taken += size
        return b"x" * size


@threat("T-32", asvs="4.2.2, 15.2.2")
@pytest.mark.parametrize(("stated", "status"), LENGTHS)
@pytest.mark.parametrize("way", ["searchgov", "addsearch", "vtexads"])
def test_t32_no_body_is_read_beyond_its_limit(
    way: str, stated: dict[str, str], status: int, shop: Any
) -> None:
    path, payload = WAYS[way]
    body = json.dumps(payload).encode()
    answer = shop.ask(path, "POST", body, CONTENT_TYPE="application/json", **stated)
    assert answer.status == status
    shop.ledger()
    assert shop.rows("SELECT * FROM clicks") == []


@threat("T-32", asvs="15.2.2")
def test_t32_of_an_endless_body_one_byte_too_many_is_read(shop: Any) -> None:
    for path, _ in WAYS.values():
        endless = Endless()
        environ = {"wsgi.input": endless, "wsgi.input_terminated": True, "CONTENT_LENGTH": ""}
        assert shop.ask(path, "POST", **environ).status in (400, 413, 422)
        assert endless.taken <= BODY_LIMIT + 1
    with pytest.raises(Exception, match="longer"):
        read_body({"wsgi.input": Endless(), "wsgi.input_terminated": True})


@threat("T-33", asvs="5.2.3")
@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "GZIP", "identity, gzip"])
def test_t33_a_bomb_is_not_unpacked(coding: str, shop: Any) -> None:
    bomb = zlib.compress(b" " * 20_000_000)[:BODY_LIMIT]
    tracemalloc.start()
    for way, (path, _) in WAYS.items():
        answer = shop.ask(path, "POST", bomb, HTTP_CONTENT_ENCODING=coding)
        assert answer.status == (422 if way == "searchstax" else 415)
    assert shop.send(HTTP_CONTENT_ENCODING=coding).status == 204
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


ODD_JSON = [
    b"[" * 60_000,
    b'{"a":' * 9_000,
    b"[[" * 20 + b"]]" * 20,
    b'{"position": NaN}',
    b'{"position": 1e999}',
    b'{"position": -Infinity}',
    b'{"position": ' + b"9" * 5_000 + b"}",
    b'{"query": "\\ud800"}',
    b'{"query": "a", "query": "b"}',
    b'{"a": {"__proto__": 1, "__proto__": 2}}',
    b"\xff\xfe{}",
    b"",
    b"null",
    b'"text"',
    b"{",
    b"\x00",
]


@threat("T-34", asvs="1.5.2, 2.2.1")
@pytest.mark.parametrize("body", ODD_JSON, ids=lambda body: ascii(body[:16]))
def test_t34_odd_json_is_the_senders_fault(body: bytes, shop: Any) -> None:
    for path, _ in WAYS.values():
        answer = shop.ask(path, "POST", body, CONTENT_TYPE="application/json")
        assert 400 <= answer.status < 500, path
        json.loads(answer.body)
    data = urlencode({"data": b64encode(body).decode()})
    assert shop.ask("/_clicks/api/v2/track/", query=data).status == 422
    assert shop.ask("/_clicks/e", "POST", body, CONTENT_TYPE="text/plain").status == 204
    shop.ledger()
    assert [shop.rows(f"SELECT * FROM {view}") for view in ("clicks", "searches")] == [[], []]


@threat("T-34", asvs="2.2.1")
def test_t34_names_of_the_language_are_names_like_others(shop: Any) -> None:
    for name in ("__proto__", "constructor", "__class__", "toString", "__init__", "{0}", "%s"):
        for kind in (name, [name], {name: name}):
            assert shop.send({"t": kind, name: name}, kind).status == 204
            assert shop.post("/_clicks/api/v2/track/", {**STAX, "event": kind}).status == 422
            assert (
                shop.post("/_clicks/v1/stats/an-index-key", {**ADD, "action": kind}).status == 400
            )
        assert shop.report("queries", f"sort={name}").status == 400
        assert shop.report(name).status == 404
    assert shop.rows("SELECT * FROM clicks") == []


#: Field → what no store keeps, or keeps as something else.
MANGLED: list[tuple[str, Any]] = [
    ("position", 2**63),
    ("position", -1),
    ("position", 1.5),
    ("position", True),
    ("position", "1e3"),
    ("position", [1]),
    ("position", {"$gt": 1}),
]


@threat("T-35", asvs="2.2.1")
@pytest.mark.parametrize(("name", "value"), MANGLED, ids=str)
def test_t35_a_position_that_is_none_is_not_stored(name: str, value: Any, shop: Any) -> None:
    stax = {**STAX, "properties": {**STAX["properties"], name: value}}  # type: ignore[dict-item]
    assert shop.post("/_clicks/api/v2/track/", stax).status == 422
    assert shop.post("/_clicks/v1/stats/an-index-key", {**ADD, name: value}).status == 400
    shop.send({"t": "result", "u": "/a", "p": value})
    assert shop.rows("SELECT position FROM clicks") == []


@threat("T-35", asvs="2.2.1")
def test_t35_texts_are_cleaned_and_cut(shop: Any) -> None:
    text = "a\0b\x1b[31m\u202ec\u2028d" + "y" * 9_000
    sent = [gov(shop, urlencode({**GOV, "query": text, "vertical": text}).encode())]
    sent.append(shop.post("/_clicks/v1/stats/an-index-key", {**ADD, "keyword": text}))
    shop.send({"t": "result", "u": "/a", "q": text[:2_000], "h": text})
    assert [answer.status for answer in sent] == [200, 200]
    found = shop.rows("SELECT query, coalesce(title, ''), module_code FROM clicks")
    assert len(found) == 3
    for kept in (cell for row in found for cell in row):
        assert len(kept) <= 512
        assert not {"Cc", "Cs"} & {category(char) for char in kept}


@threat("T-36", asvs="2.2.1")
def test_t36_of_two_keys_none_is_right_and_of_two_values_the_first(shop: Any) -> None:
    twice = urlencode([*GOV.items(), ("access_key", "another")]).encode()
    assert gov(shop, twice).status == 401
    assert gov(shop, urlencode([*GOV.items(), ("affiliate", "other")]).encode()).status in (
        400,
        401,
    )
    assert gov(shop, urlencode([*GOV.items(), ("position", "999")]).encode()).status == 200
    assert shop.rows("SELECT position FROM clicks") == [(1,)]
    both = "api_key=a+read+key+of+this+shop&api_key=other"
    assert shop.ask("/_clicks/api/v1/clicks", query=both).status == 401
    for doubled in ("from=2026-01-01&from=2026-01-02", "site=shop&site=other", "q=a&q=b"):
        assert shop.report("queries.json", doubled).status == 400


@threat("T-37", asvs="1.1.1")
@pytest.mark.parametrize(
    "text", ["%FF", "%ED%A0%80", "%00", "%C0%AF", "\xff", "%", "%zz", "%F4%90%80%80"]
)
def test_t37_bytes_that_are_no_text_do_no_harm(text: str, shop: Any) -> None:
    assert shop.ask("/search", query=f"q={text}").status == 200
    assert gov(shop, b"", query=f"query={text}").status in (400, 401)
    assert shop.ask("/_clicks/api/v2/track/", query=f"data={text}").status == 422
    assert shop.ask(f"/_clicks/v1/stats/{text}", "POST", b"{}").status == 404
    assert shop.report("queries", f"q={text}").status in (200, 400)
    assert shop.follow(query=f"v={text}").status == 302
    for (query,) in shop.rows("SELECT query FROM searches"):
        query.encode()
        assert "\0" not in query


@threat("T-38", asvs="3.4.2, 3.5.1")
@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "https://www.example.org.evil.example", "http://www.example.org:8443",
     "https://evil.example\r\nX: y", "http://www.example.org@evil.example", "file://"],
)  # fmt: skip
def test_t38_a_page_elsewhere_may_not_report_as_ours(origin: str, shop: Any) -> None:
    said = {"t": "result", "u": "/a", "q": "tax"}
    answer = shop.send(said, HTTP_ORIGIN=origin)
    assert answer.status == 403
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["vary"] == "Origin"
    asked = shop.ask(
        "/_clicks/e", "OPTIONS", HTTP_ORIGIN=origin, HTTP_ACCESS_CONTROL_REQUEST_METHOD="POST"
    )
    assert not [name for name in asked.headers if name.startswith("access-control")]
    for path in ("api/v1/clicks", "mcp", "report/", "health"):
        found = shop.ask(f"/_clicks/{path}", HTTP_ORIGIN=origin)
        assert "access-control-allow-origin" not in found.headers
    assert shop.rows("SELECT * FROM clicks") == []


@threat("T-39", asvs="15.3.4")
def test_t39_a_forwarded_address_is_believed_of_our_proxies_alone(site: Any) -> None:
    def address(forwarded: str, proxies: int) -> str:
        environ = {"REMOTE_ADDR": "203.0.113.1", "HTTP_X_FORWARDED_FOR": forwarded}
        return client_address(environ, proxies)

    assert address("1.2.3.4, 5.6.7.8", 0) == "203.0.113.1"
    assert address("1.2.3.4, 5.6.7.8", 1) == "5.6.7.8"
    assert address("1.2.3.4, 5.6.7.8", 2) == "1.2.3.4"
    for made_up in (
        "x",
        "fe80::1%eth0",
        "5.6.7.8:80",
        "1.2.3.4," * 2_000,
        "",
        "5.6.7.8, ",
        "1.2.3",
    ):
        assert address(made_up, 1) == "203.0.113.1", made_up
    token = site.token()
    for number in range(9):
        site.follow(
            token, HTTP_X_FORWARDED_FOR=f"198.51.100.{number}", HTTP_FORWARDED=f"for={number}"
        )
    assert site.counted == 1


@threat("T-40", asvs="14.2.1", result="held; the documented parameter stays, see below")
def test_t40_a_key_in_an_address_is_repeated_nowhere(shop: Any, caplog: Any) -> None:
    caplog.set_level("DEBUG")
    key = "a read key of this shop"
    days = {"start_date": "2026-01-01", "end_date": "2026-01-02"}
    right = shop.ask("/_clicks/api/v1/clicks", query=urlencode({**days, "api_key": key}))
    assert (right.status, right.headers["cache-control"]) == (200, "no-store")
    wrong = "a wrong key that somebody typed"
    answers = [
        shop.ask("/_clicks/api/v1/clicks", query=urlencode({"api_key": wrong})),
        shop.ask("/_clicks/mcp", query=urlencode({"api_key": wrong}), HTTP_HOST="localhost"),
        gov(shop, urlencode({**GOV, "access_key": wrong}).encode()),
        shop.ask(f"/_clicks/v1/stats/{wrong}", "POST", b"{}"),
        shop.report("queries", urlencode({"api_key": wrong})),
    ]
    assert [answer.status for answer in answers[:4]] == [401, 401, 401, 404]
    told = caplog.text + right.text + "".join(answer.text for answer in answers)
    assert wrong not in told
    assert wrong.replace(" ", "+") not in told
    assert key not in told


@threat("T-41", asvs="3.5.3")
def test_t41_an_event_by_get_needs_its_key_and_no_prefetch(shop: Any) -> None:
    def track(payload: Any, **environ: Any) -> Any:
        data = b64encode(json.dumps(payload).encode()).decode()
        return shop.ask("/_clicks/api/v2/track/", query=urlencode({"data": data}), **environ)

    assert track(STAX, HTTP_SEC_PURPOSE="prefetch").status == 425
    wrong = {**STAX, "properties": {**STAX["properties"], "key": "wrong"}}  # type: ignore[dict-item]
    assert track(wrong).status == 422
    for data in ("!", "e30", "%65%33%30", "A" * 1_000_000, "eyJ" + "=" * 50):
        assert shop.ask("/_clicks/api/v2/track/", query=f"data={data}").status == 422
    assert shop.rows("SELECT * FROM clicks") == []
    answer = track(STAX)
    assert (answer.status, answer.headers["cache-control"]) == (204, "no-store")
    assert len(shop.rows("SELECT * FROM clicks")) == 1


@threat("T-42", asvs="2.4.1")
def test_t42_nobody_takes_anothers_click_away_by_clicking_first(shop: Any) -> None:
    token = shop.token(site="shop")
    for number in range(30):
        shop.follow(
            token, REMOTE_ADDR="203.0.113.66", HTTP_USER_AGENT=f"Mozilla/5.0 Firefox/{number}.0"
        )
    before = shop.counted
    shop.follow(token)
    assert shop.counted == before + 1
    for session in ("attacker", "attacker", "visitor"):
        shop.post("/_clicks/v1/stats/an-index-key", {**ADD, "session": session})
    counted = "SELECT session, sum(counted) FROM clicks WHERE source = 'addsearch' GROUP BY 1"
    assert shop.rows(counted) == [("attacker", 1), ("visitor", 1)]
    # An id of a browser's own takes nothing from who has another visitor.
    own = new_query_id(now_ms())
    for address in ("203.0.113.66", "198.51.100.7"):
        shop.send({"t": "result", "u": "/x", "q": "w", "i": own}, REMOTE_ADDR=address)
    clicked = "SELECT sum(counted) FROM clicks WHERE source = 'beacon'"
    assert shop.count(clicked) >= 1


@threat("T-43", asvs="15.2.2", result="held in part: by rate and length, see below")
def test_t43_a_flood_of_words_is_limited_by_rate_and_length(make: Any) -> None:
    site = make(redirect_rate=20)
    chance = random.Random(43)
    sent = 0
    for _ in range(40):
        words = [chance.randbytes(900).hex() for _ in range(30)]
        site.send(*({"t": "search", "q": word} for word in words))
        sent += len(words)
    ledger = site.ledger()
    assert ledger["stored"] + ledger["dropped"]["rate"] == ledger["received"] == sent
    assert ledger["dropped"]["rate"] > 0
    assert site.count("SELECT count(*) FROM query") <= ledger["stored"] + 1
    assert site.count("SELECT max(length(text)) FROM query") <= 512


@threat("T-43", asvs="15.2.2", result="held in part: by rate and length, see below")
def test_t43_words_that_senders_choose_fill_no_memory(site: Any, tmp_path: Any) -> None:
    from clickmw.stores._sqlite_dictionaries import Dictionaries
    from clickmw.stores.base import StoreOptions

    words = Dictionaries(StoreOptions())
    for number in range(300_000):
        if number % 2_000 == 0:
            words.make_room()
        words.terms[f"{number}"] = number
        words.results[f"{number}"] = number
        words.dimensions[(f"{number}",)] = (number,)
    assert max(len(words.terms), len(words.results), len(words.dimensions)) <= 202_001


AGENTS = {
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)": "robot",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)": "robot",
    "curl/8.5.0": "robot",
    "": "robot",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/140.0 Safari/537.36": "robot",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36": None,
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36 Edg/140.0": None,
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 15_0) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.0 Safari/605.1.15": None,
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0": None,
}


@threat("T-44", asvs="2.4.1", result="held by a flag on the row")
@pytest.mark.parametrize("agent", AGENTS, ids=lambda agent: agent[-24:] or "empty")
def test_t44_robots_are_kept_apart_from_people(agent: str, open_site: Any) -> None:
    open_site.follow(HTTP_USER_AGENT=agent)
    reason = AGENTS[agent]
    assert open_site.rows("SELECT counted, drop_reason FROM clicks") == [(int(not reason), reason)]
    assert open_site.ledger()["robots"] == bool(reason)
    metrics = open_site.report("overview.json", "period=today").json["metrics"]
    assert metrics["clicks"]["value"] == int(not reason)


# -- what senders say of themselves ----------------------------------------------------------------

SPELLINGS = ["https://joe:pw@a.example/x", "HTTPS://joe:pw@a.example/x", "https://joe@a.example/x"]
SPELLINGS += [
    "https://joe:p%40w:@x@a.example/x",
    "https:joe:pw@a.example/x",
    "https:/joe:pw@a.example/x",
]
SPELLINGS += ["https:///joe:pw@a.example/x"]


@threat("T-69", asvs="14.2.4")
@pytest.mark.parametrize("url", SPELLINGS)
def test_t69_user_and_password_of_an_address_are_not_stored(url: str, shop: Any) -> None:
    gov(shop, urlencode({**GOV, "url": url}).encode())
    stax = {**STAX, "properties": {**STAX["properties"], "cDocId": url}}  # type: ignore[dict-item]
    shop.post("/_clicks/api/v2/track/", stax)
    shown = {"cDocId": url, "cDocTitle": "A", "position": 1}
    search = {**STAX["properties"], "totalHits": 1, "impressions": [shown]}  # type: ignore[dict-item]
    shop.post("/_clicks/api/v2/track/", {"event": "_search", "properties": search})
    answered = {**STAX["properties"], "href": url, "question": "q", "answer": "a"}  # type: ignore[dict-item]
    shop.post("/_clicks/api/v2/track/", {"event": "_answersourceclick", "properties": answered})
    shop.send({"t": "result", "u": url}, {"t": "search", "q": "x", "r": [{"u": url}]})
    ads = [Ad("ad-1", "shop", url)] if re.match("https://[^/]", url) else []
    for where in (where for ad in ads for where in shop.door.ad_signer.urls(ad)):
        path, _, query = where.partition("?")
        shop.ask(
            f"/_clicks{path}", "POST", b'{"user_id":"u"}', query, CONTENT_TYPE="application/json"
        )
    found = {
        row[0] for row in shop.rows("SELECT url FROM clicks UNION SELECT url FROM impressions")
    }
    found.discard(None)
    assert found
    assert [one for one in found if "joe" in one or "pw" in one] == []
    files = [path for path in shop.folder.rglob("*") if path.is_file()]
    assert [path.name for path in files if b"joe" in path.read_bytes()] == []
