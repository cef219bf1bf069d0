"""VTEX Ads: what its senders send, what they are told, and what is kept of it."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from webtest import TestApp, TestRequest, TestResponse

from clickmw import ClickMW
from clickmw.ad_urls import Ad, AdSigner
from clickmw.compat.vtexads import VtexAds
from clickmw.demo import running
from clickmw.events import Click, Conversion, Event, Impression, Shown, new_query_id
from clickmw.journal import read_records, segment_paths
from clickmw.recorder import now_ms
from clickmw.tokens import LinkSigner, LinkTarget

SECRET = "thirty-two characters or more are fine"
AD_ID = "4a94bc6e-7db1-425f-8430-cb4d17488b3b"
USER, SESSION = "6f92d1e9-00b6-4f8b-9645-faeab321e1cc", "5898b8d1-c250-4bb5-931b-8b9d0ee7b499"
SITES = [
    {
        "handle": "shop",
        "hosts": ["shop.example"],
        "publisher": {"id": 45, "name": "Shop"},
        "api_keys": [
            {"key": "read-key", "scope": "read"},
            {"key": "ingest-key", "scope": "ingest"},
            {"key": "admin-key", "scope": "admin"},
        ],
    },
    {
        "handle": "blog",
        "hosts": ["blog.example"],
        "publisher": {"id": 46, "name": "Blog"},
        "advertisers": [{"id": 1, "name": "Alpha", "slug": "alpha", "ad_ids": ["ad-of-blog"]}],
        "api_keys": [{"key": "blog-key", "scope": "ingest"}],
    },
]
KEYS = [{"key": "install-key", "scope": "admin"}]
BEACON = "/_clicks/v1/beacon/"
PATHS = {noun: f"{BEACON}{noun}/{AD_ID}" for noun in ("impression", "view", "click")}
CLICK = f"{PATHS['click']}?pos=1"
CONVERSION = f"{BEACON}conversion"
JSON = "application/json"
FORM = "application/x-www-form-urlencoded;charset=UTF-8"
BOTH = (
    b'{\n  "user_id": "6f92d1e9-00b6-4f8b-9645-faeab321e1cc",\n'
    b'  "session_id": "5898b8d1-c250-4bb5-931b-8b9d0ee7b499"\n}'
)
ORDER = b"""{
  "channel": "ecommerce", "publisher_id": "xxx",
  "user_id": "6f92d1e9-00b6-4f8b-9645-faeab321e1cc",
  "session_id": "5898b8d1-c250-4bb5-931b-8b9d0ee7b499",
  "order_id": "123", "email_hashed": "xyz",
  "items": [
    {"sku": "12221", "seller_id": "1234", "product_id": "4567", "quantity": 1, "price": 2000.00,
     "promotional_price": 1899.00},
    {"sku": "12222", "seller_id": null, "product_id": "4568", "quantity": 2, "price": 500.00,
     "promotional_price": 400.00}
  ],
  "created_at": "2023-01-01T09:20:00Z"
}"""
NO_ID = [
    {
        "instancePath": "",
        "keyword": "required",
        "message": "must have required property 'user_id'",
        "params": {"missingProperty": "user_id"},
        "schemaPath": "#/anyOf/0/required",
    },
    {
        "instancePath": "",
        "keyword": "required",
        "message": "must have required property 'session_id'",
        "params": {"missingProperty": "session_id"},
        "schemaPath": "#/anyOf/1/required",
    },
    {
        "instancePath": "",
        "keyword": "anyOf",
        "message": "must match a schema in anyOf",
        "params": {},
        "schemaPath": "#/anyOf",
    },
]


class Shop:
    """An install with two sites, somebody who sends beacons, and what was kept of them."""

    def __init__(self, clicks: ClickMW, browser: TestApp) -> None:
        self.clicks = clicks
        self.browser = browser

    def post(
        self, path: str = CLICK, body: bytes = BOTH, kind: str = JSON, **headers: str
    ) -> TestResponse:
        """Post *body*; header names with _ for -."""
        named = {"Host": "shop.example", "Content-Type": kind}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.browser.post(path, body, headers=named, expect_errors=True)

    def call(self, method: str, path: str = CLICK, **headers: str) -> TestResponse:
        named = {"Host": "shop.example"}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.browser.request(path, method=method, headers=named, expect_errors=True)

    def sign(self, noun: str = "click", ad_id: str = AD_ID, **details: Any) -> str:
        details.setdefault("site", "shop")
        return str(getattr(self.clicks.ad_urls(ad_id, **details), f"{noun}_url"))

    @property
    def events(self) -> list[Event]:
        records = [
            record
            for path in segment_paths(self.clicks.settings.journal)
            for record in read_records(path, 0, most=1_000_000, sealed=False)
        ]
        return [stored.event for record in records for stored in record.events]

    @property
    def event(self) -> Any:
        (event,) = self.events
        return event

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return what the views say when everything is stored."""
        self.clicks.door.routes.open_reader().close()
        with closing(sqlite3.connect(self.clicks.settings.database or "")) as database:
            return database.execute(sql).fetchall()

    def rejected(self) -> dict[str, int]:
        self.clicks.door.routes.open_reader().close()
        found = self.clicks.door.routes.read_health()["rejected"]
        return {name: count for name, count in found.items() if count}


@pytest.fixture
def shop_of(
    clicks_at: Callable[..., ClickMW], browser_of: Callable[..., TestApp]
) -> Callable[..., Shop]:
    def make(**settings: Any) -> Shop:
        clicks = clicks_at(**{"sites": SITES, "keys": KEYS, **settings})
        return Shop(clicks, browser_of(clicks))

    return make


@pytest.fixture
def shop(shop_of: Callable[..., Shop]) -> Shop:
    return shop_of()


# --- what is accepted ----------------------------------------------------------------------------

BODIES = {
    "both ids as json": (BOTH, JSON),
    "only a user": (b'{"user_id":"6f92d1e9-00b6-4f8b-9645-faeab321e1cc"}', JSON),
    "only a session": (b'{"session_id":"5898b8d1-c250-4bb5-931b-8b9d0ee7b499"}', JSON),
    "empty ids": (b'{"user_id":"","session_id":""}', JSON),
    "both ids as a form": (f"session_id={SESSION}&user_id={USER}".encode(), FORM),
    "a form with only a session": (f"session_id={SESSION}".encode(), FORM),
    "the body of the kotlin library": (
        b'{"session_id":"s-1","user_id":"u-1","ads_sourcing_components":["SDK_ADS_KOTLIN"]}',
        "application/json; charset=utf-8",
    ),
    "json that says it is text": (BOTH, "text/plain;charset=UTF-8"),
    "json that says it is a form": (BOTH, FORM),
    "json that says nothing": (BOTH, ""),
    "a form that says it is text": (f"user_id={USER}".encode(), "text/plain"),
    "json behind white space": (b"\r\n " + BOTH, "text/plain"),
    "json with a mark of its byte order": (b"\xef\xbb\xbf" + BOTH, JSON),
}


@pytest.mark.parametrize("noun", PATHS)
@pytest.mark.parametrize(("body", "kind"), BODIES.values(), ids=BODIES)
def test_every_sender_is_told_exactly_202(shop: Shop, noun: str, body: bytes, kind: str) -> None:
    answer = shop.post(PATHS[noun], body, kind)
    assert (answer.status_int, answer.content_type) == (202, "application/json")
    assert answer.body == f'{{"messages":["{noun} will be processed soon"]}}'.encode()
    assert len(shop.events) == 1


def test_a_conversion_is_told_202(shop: Shop) -> None:
    answer = shop.post(CONVERSION, ORDER)
    assert answer.status_int == 202
    assert answer.body == b'{"messages":["conversion will be processed soon"]}'


@pytest.mark.parametrize(
    "path",
    [
        "v1/beacon/click/ad-123",
        "v1/beacon/click/123/",
        "v1/beacon/view/a%20b",
        "v1/beacon/click/%C3%A9",
    ],
)
def test_any_segment_of_a_path_is_an_ad_id(shop: Shop, path: str) -> None:
    assert shop.post(f"/_clicks/{path}").status_int == 202
    assert shop.event.ad_id in ("ad-123", "123", "a b", "é")


def test_the_paths_stand_at_the_root_too(shop_of: Callable[..., Shop]) -> None:
    shop = shop_of(native_paths=True)
    assert shop.post(f"/v1/beacon/click/{AD_ID}").status_int == 202
    assert shop.event.ad_id == AD_ID


SIGNED_BY_ANOTHER = (
    f"{BEACON}view/acf4e62c-c46f-4b84-8ea2-187f36704c01?publisher_id=d4dff0cb&ad_type=banner"
    "&campaign_id=e48f7340&pname=home_top_banner&ad_size=mobile&context=home&channel=app"
    "&event_id=5b0e50a8&request_id=2d8a63ad&session_id=session-id&user_id=user-id"
    "&requested_at=1760616781024"
    "&sign=cfb0b76a66a6aa21347574debab5220f738dcdb9b0aedf1c1144629f8395f33d"
)


def test_a_url_of_the_real_service_with_all_its_parameters_is_accepted(shop: Shop) -> None:
    assert shop.post(SIGNED_BY_ANOTHER, b'{"session_id":"from the body"}').status_int == 202
    event = shop.event
    assert (event.ad_id, event.session, event.trust, event.site) == (
        "acf4e62c-c46f-4b84-8ea2-187f36704c01",
        "from the body",
        "anonymous",
        "shop",
    )


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("noun", PATHS)
@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"{}", JSON), (b"", FORM), (b"", ""), (b"a=b", FORM), (b'{"userId":"u"}', "text/plain")],
    ids=["empty object", "empty form", "nothing", "another form", "other names"],
)
def test_a_beacon_without_an_id_is_told_so_in_three_objects(
    shop: Shop, noun: str, body: bytes, kind: str
) -> None:
    answer = shop.post(PATHS[noun], body, kind)
    assert (answer.status_int, answer.content_type) == (422, "application/json")
    assert answer.body == json.dumps(NO_ID, separators=(",", ":")).encode()
    assert (shop.events, shop.rejected()) == ([], {"vtexads_invalid": 1})


def test_an_order_without_its_five_fields_is_told_all_five(shop: Shop) -> None:
    answer = shop.post(CONVERSION, b'{"session_id":"s"}')
    names = ["user_id", "order_id", "publisher_id", "items", "created_at"]
    assert answer.status_int == 422
    assert answer.json == [
        {
            "instancePath": "",
            "keyword": "required",
            "message": f"must have required property '{name}'",
            "params": {"missingProperty": name},
            "schemaPath": "#/required",
        }
        for name in names
    ]


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"null", b"5"])
def test_a_body_that_is_no_object_is_told_so(shop: Shop, body: bytes) -> None:
    answer = shop.post(CLICK, body)
    assert answer.status_int == 422
    assert answer.json == [
        {
            "instancePath": "",
            "keyword": "type",
            "message": "must be object",
            "params": {"type": "object"},
            "schemaPath": "#/type",
        }
    ]


def test_an_id_of_the_wrong_type_is_told_so(shop: Shop) -> None:
    answer = shop.post(CLICK, b'{"user_id":17}')
    assert answer.status_int == 422
    assert answer.json == [
        {
            "instancePath": "/user_id",
            "keyword": "type",
            "message": "must be string",
            "params": {"type": "string"},
            "schemaPath": "#/properties/user_id/type",
        }
    ]


def test_ids_of_the_url_do_not_stand_in_for_those_the_body_must_have(shop: Shop) -> None:
    assert shop.post(f"{CLICK}&user_id=u&session_id=s", b"{}").json == NO_ID


UNREADABLE: dict[str, tuple[bytes, dict[str, str], int]] = {
    "no json": (b"{", {}, 400),
    "not a number": (b'{"user_id":NaN}', {}, 400),
    "half a character": (b'{"user_id":"\\ud800"}', {}, 400),
    "no utf-8": (b'{"user_id":"\xff"}', {}, 400),
    "too deep": (b'{"x":' + b"[" * 100 + b"]" * 100 + b"}", {}, 400),
    "a number of thousands of digits": (b'{"x":' + b"9" * 5000 + b"}", {}, 400),
    "too many fields": (b"a=b&" * 300, {"kind": FORM}, 400),
    "too long": (b'{"x":"' + b"a" * 65_536 + b'"}', {}, 413),
    "compressed": (b"\x1f\x8b", {"Content_Encoding": "gzip"}, 415),
}


@pytest.mark.parametrize(("body", "how", "status"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_body_that_cannot_be_read_is_refused_in_the_same_shape(
    shop: Shop, body: bytes, how: dict[str, str], status: int
) -> None:
    answer = shop.post(CLICK, body, **{"kind": JSON, **how})
    assert (answer.status_int, answer.content_type) == (status, "application/json")
    (error,) = answer.json
    assert list(error) == ["instancePath", "keyword", "message", "params", "schemaPath"]
    assert error["keyword"] == "body"
    assert (shop.events, shop.rejected()) == ([], {"vtexads_body": 1})


def test_chunks_that_the_server_does_not_end_are_refused(shop: Shop) -> None:
    request = TestRequest.blank(CLICK, method="POST", environ={"HTTP_TRANSFER_ENCODING": "chunked"})
    assert request.get_response(shop.clicks).status_int == 411


def test_a_query_string_of_too_many_parameters_is_refused(shop: Shop) -> None:
    assert shop.post(f"{CLICK}&{'a=b&' * 300}").status_int == 400


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("path", [CLICK, CONVERSION], ids=["click", "conversion"])
def test_other_methods_are_told_which_one_it_is(shop: Shop, method: str, path: str) -> None:
    answer = shop.call(method, path, Origin="https://shop.example")
    assert (answer.status_int, answer.headers["Allow"]) == (405, "POST, OPTIONS")
    assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    assert (shop.events, shop.rejected()) == ([], {"vtexads_method": 1})


def test_an_ad_without_an_id_is_no_path(shop: Shop) -> None:
    assert shop.post(f"{BEACON}click/").status_int == 404


def test_an_ad_id_without_a_visible_character_is_accepted_and_not_kept(shop: Shop) -> None:
    assert shop.post(f"{BEACON}click/%20%00").status_int == 202
    assert (shop.events, shop.rejected()) == ([], {"vtexads_ad": 1})


# --- other sites' pages --------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*PATHS.values(), CONVERSION], ids=[*PATHS, "conversion"])
def test_a_preflight_allows_a_json_beacon_with_credentials(shop: Shop, path: str) -> None:
    answer = shop.call(
        "OPTIONS",
        path,
        Origin="https://store.example",
        Access_Control_Request_Method="POST",
        Access_Control_Request_Headers="content-type",
    )
    assert (answer.status_int, answer.body) == (204, b"")
    assert "Content-Length" not in answer.headers
    asked = ("Origin", "Credentials", "Methods", "Headers")
    assert [answer.headers[f"Access-Control-Allow-{name}"] for name in asked] == [
        "https://store.example",
        "true",
        "POST, OPTIONS",
        "content-type",
    ]
    assert answer.headers["Vary"] == "Origin"
    assert (shop.events, shop.rejected()) == ([], {})


ANSWERS = {
    "accepted": (CLICK, BOTH, 202),
    "invalid": (CLICK, b"{}", 422),
    "unreadable": (CLICK, b"{", 400),
    "conversion": (CONVERSION, ORDER, 202),
}


@pytest.mark.parametrize(("path", "body", "status"), ANSWERS.values(), ids=ANSWERS)
def test_every_answer_may_be_read_by_the_page_that_asked(
    shop: Shop, path: str, body: bytes, status: int
) -> None:
    answer = shop.post(path, body, Origin="https://store.example")
    assert answer.status_int == status
    assert answer.headers["Access-Control-Allow-Origin"] == "https://store.example"
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert answer.headers["Vary"] == "Origin"


@pytest.mark.parametrize("origin", ["", "https://s\xe9.example"], ids=["none", "no ascii"])
def test_no_origin_is_named_that_was_not_properly_sent(shop: Shop, origin: str) -> None:
    answer = shop.post(Origin=origin)
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert answer.headers["Vary"] == "Origin"


@pytest.mark.usefixtures("still_limits")
def test_too_many_beacons_are_told_when_to_come_again(shop_of: Callable[..., Shop]) -> None:
    shop = shop_of(redirect_rate=1)
    answers = [shop.post(Origin="https://shop.example") for _ in range(102)]
    assert [answer.status_int for answer in answers[:100]] == [202] * 100
    last = answers[-1]
    assert (last.status_int, last.headers["Retry-After"]) == (429, "1")
    assert last.json == {"messages": ["too many at once; try again in a second"]}
    assert last.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    assert shop.rejected()["rate"] >= 1


def test_what_cannot_be_kept_is_not_accepted(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shop.clicks.door.journal, "write", lambda events: False)
    answer = shop.post(Origin="https://shop.example")
    assert (answer.status_int, list(answer.json)) == (503, ["messages"])
    assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"


# --- what is kept --------------------------------------------------------------------------------


def test_a_click_with_an_unsigned_url_is_kept_with_the_ad_alone(shop: Shop) -> None:
    shop.post(CLICK)
    click = shop.event
    assert isinstance(click, Click)
    assert (click.kind, click.source, click.trust, click.site) == (
        "ad",
        "vtexads",
        "anonymous",
        "shop",
    )
    assert (click.ad_id, click.doc_id, click.url, click.query) == (AD_ID, AD_ID, "", "")
    assert (click.position, click.position_raw, click.session) == (1, "", SESSION)
    assert len(click.visitor) == len(click.dedupe_key) == 16


def test_a_click_with_a_signed_url_is_kept_with_all_it_says(shop: Shop) -> None:
    query_id = new_query_id(now_ms())
    url = "https://alpha.example/shoes/7"
    details = {"url": url, "query": "Running  Shoes", "position": 3, "module": "BWEB"}
    shop.post(shop.sign(**details, query_id=query_id))
    click = shop.event
    assert (click.trust, click.site, click.url, click.doc_id) == ("signed", "shop", url, "")
    assert (click.query, click.query_id) == ("running shoes", query_id)
    assert (click.position, click.module_code, click.ad_id) == (3, "BWEB", AD_ID)


@pytest.mark.parametrize(("noun", "kind"), [("impression", "ad_impression"), ("view", "ad_view")])
def test_what_was_shown_is_kept(shop: Shop, noun: str, kind: str) -> None:
    query_id = new_query_id(now_ms())
    url = "https://alpha.example/shoes/7"
    shop.post(shop.sign(noun, url=url, query="Shoes", position=3, module="BOOS", query_id=query_id))
    shown = shop.event
    assert isinstance(shown, Impression)
    assert (shown.kind, shown.ad_id, shown.query, shown.query_id) == (
        kind,
        AD_ID,
        "shoes",
        query_id,
    )
    assert shown.shown == (Shown(url, 3, "BOOS", "", ""),)
    assert (shown.trust, shown.source, shown.session) == ("signed", "vtexads", SESSION)


def test_an_unsigned_impression_is_kept_under_the_ads_own_id(shop: Shop) -> None:
    shop.post(PATHS["impression"])
    assert shop.event.shown == (Shown("", 0, "", AD_ID, ""),)


def test_a_target_on_the_sites_own_host_is_kept_as_the_redirect_keeps_it(shop: Shop) -> None:
    shop.post(shop.sign("impression", url="/landing"))
    shop.post(shop.sign("click", url="/landing"))
    shown, click = shop.events
    assert isinstance(shown, Impression)
    assert isinstance(click, Click)
    assert shown.shown[0].url == click.url == "https://shop.example/landing"


@pytest.mark.parametrize("noun", ["impression", "click"])
def test_a_target_that_is_one_of_our_own_links_is_resolved(shop: Shop, noun: str) -> None:
    query_id = new_query_id(now_ms())
    target = LinkTarget("shop", query_id, 4, "BWEB", "", "https://alpha.example/")
    shop.post(shop.sign(noun, url="/_clicks/r/" + LinkSigner(SECRET).sign_link(target)))
    event = shop.event
    url = event.url if noun == "click" else event.shown[0].url
    assert (url, event.query_id) == ("https://alpha.example/", query_id)


@pytest.mark.parametrize(
    ("pos", "position", "raw"),
    [
        ("1", 1, ""),
        ("0", 0, ""),
        ("01", 1, "01"),
        ("top", None, "top"),
        ("-1", None, "-1"),
        ("", None, ""),
    ],
)
def test_the_position_of_a_client_is_kept_as_a_number_and_as_it_was_sent(
    shop: Shop, pos: str, position: int | None, raw: str
) -> None:
    shop.post(f"{PATHS['click']}?pos={pos}")
    assert (shop.event.position, shop.event.position_raw) == (position, raw)


def test_the_signed_position_counts_and_the_clients_own_is_kept_beside_it(shop: Shop) -> None:
    shop.post(shop.sign(position=3) + "&pos=9")
    assert (shop.event.position, shop.event.position_raw) == (3, "9")


def test_ids_of_the_url_tell_people_apart_where_the_body_does_not(shop: Shop) -> None:
    shop.post(f"{CLICK}&user_id=u&session_id=s", b'{"session_id":""}')
    shop.post(f"{CLICK}&user_id=u&session_id=other", b'{"session_id":"s"}')
    one, other = shop.events
    assert isinstance(one, Click)
    assert isinstance(other, Click)
    assert (one.session, one.visitor, one.dedupe_key) == (
        other.session,
        other.visitor,
        other.dedupe_key,
    )


def test_a_session_without_a_value_is_accepted_and_tells_nobody_apart(shop: Shop) -> None:
    assert shop.post(CLICK, b"session_id=undefined", FORM).status_int == 202
    click = shop.event
    assert (click.session, click.visitor, click.dedupe_key) == ("", "", "")


def test_of_a_field_that_is_sent_twice_the_first_counts(shop: Shop) -> None:
    shop.post(f"{PATHS['click']}?pos=1&pos=2", b"session_id=a&session_id=b", FORM)
    assert (shop.event.session, shop.event.position) == ("a", 1)


def test_the_user_is_the_visitor_in_every_session(shop: Shop) -> None:
    shop.post(CLICK, b'{"user_id":"u","session_id":"1"}')
    shop.post(CLICK, b'{"user_id":"u","session_id":"2"}')
    shop.post(CLICK, b'{"session_id":"2"}')
    visitors = [event.visitor for event in shop.events]
    assert visitors[0] == visitors[1] != visitors[2]


def test_user_ids_are_not_kept(shop: Shop, tmp_path: Path) -> None:
    shop.post(CLICK)
    assert SESSION.encode() in _bytes_of(tmp_path / "journal")
    assert USER.encode() not in _bytes_of(tmp_path / "journal")


def _bytes_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


# --- what is the same ----------------------------------------------------------------------------

SAME = BOTH
OTHERS: dict[str, tuple[str, bytes]] = {
    "another session": (
        CLICK,
        b'{"user_id":"6f92d1e9-00b6-4f8b-9645-faeab321e1cc","session_id":"2"}',
    ),
    "another user": (CLICK, b'{"user_id":"v","session_id":"5898b8d1-c250-4bb5-931b-8b9d0ee7b499"}'),
    "another ad": (f"{BEACON}click/another", SAME),
    "no session": (CLICK, b'{"user_id":"6f92d1e9-00b6-4f8b-9645-faeab321e1cc"}'),
    "no user": (CLICK, b'{"session_id":"5898b8d1-c250-4bb5-931b-8b9d0ee7b499"}'),
    "an impression": (PATHS["impression"], SAME),
}


def test_a_repeat_is_accepted_and_known_as_one(shop: Shop) -> None:
    answers = [shop.post(CLICK, SAME), shop.post(PATHS["click"], SAME, "text/plain")]
    assert [answer.status_int for answer in answers] == [202, 202]
    assert len({event.dedupe_key for event in shop.events}) == 1


@pytest.mark.parametrize(("path", "body"), OTHERS.values(), ids=OTHERS)
def test_what_differs_is_no_repeat(shop: Shop, path: str, body: bytes) -> None:
    shop.post(CLICK, SAME)
    shop.post(path, body)
    assert len({event.dedupe_key for event in shop.events}) == 2


def test_the_same_person_on_another_device_is_no_repeat(shop: Shop) -> None:
    shop.post()
    phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Mobile/15E148 Safari/604.1"
    shop.post(User_Agent=phone)
    assert len({event.dedupe_key for event in shop.events}) == 2


def test_a_session_that_is_called_like_a_user_is_not_that_user(shop: Shop) -> None:
    shop.post(CLICK, b'{"user_id":"a"}')
    shop.post(CLICK, b'{"session_id":"a"}')
    assert len({event.dedupe_key for event in shop.events}) == 2


def test_a_view_is_never_a_repeat(shop: Shop) -> None:
    shop.post(PATHS["view"])
    assert shop.event.dedupe_key == ""


def test_an_impression_of_the_same_person_is_known_as_a_repeat(shop: Shop) -> None:
    shop.post(PATHS["impression"])
    shop.post(PATHS["impression"])
    keys = {event.dedupe_key for event in shop.events}
    assert len(keys) == 1
    assert "" not in keys


@pytest.mark.parametrize("details", [{}, {"query_id": new_query_id(now_ms())}], ids=["ad", "page"])
def test_a_repeated_click_counts_once_and_again_in_a_new_session(
    shop: Shop, details: dict[str, Any]
) -> None:
    url = shop.sign(url="https://alpha.example/", **details)
    for session in ("1", "1", "2"):
        shop.post(url, json.dumps({"user_id": "u", "session_id": session}).encode())
    sql = "SELECT session, counted, drop_reason, kind, ad_id, url, trust FROM clicks"
    rest = ("ad", AD_ID, "https://alpha.example/", "signed")
    assert shop.rows(sql) == [
        ("1", 1, None, *rest),
        ("1", 0, "duplicate", *rest),
        ("2", 1, None, *rest),
    ]


def test_repeated_impressions_and_orders_count_once_and_views_always(shop: Shop) -> None:
    for _ in range(2):
        for path in (PATHS["impression"], PATHS["view"]):
            shop.post(path)
        shop.post(CONVERSION, ORDER)
    shown = "SELECT kind, sum(counted), count(*), min(ad_id) FROM impressions GROUP BY kind"
    assert shop.rows(shown) == [("ad_impression", 1, 2, AD_ID), ("ad_view", 2, 2, AD_ID)]
    assert shop.rows("SELECT order_id, value, counted FROM conversions") == [
        ("123", 2699.0, 1),
        ("123", 2699.0, 0),
    ]


# --- whose it is ---------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["blog.example", "elsewhere.example"])
def test_a_signed_url_names_the_site_whatever_the_host(shop: Shop, host: str) -> None:
    shop.post(shop.sign(), Host=host)
    assert (shop.event.site, shop.event.trust) == ("shop", "signed")


def test_an_ad_that_a_site_lists_is_that_sites(shop: Shop) -> None:
    shop.post(f"{BEACON}click/ad-of-blog")
    assert (shop.event.site, shop.event.trust) == ("blog", "anonymous")


def test_an_unknown_ad_is_of_the_host_it_was_sent_to(shop: Shop) -> None:
    shop.post(Host="blog.example:8443")
    assert shop.event.site == "blog"


@pytest.mark.parametrize(
    ("path", "body"), [(CLICK, BOTH), (CONVERSION, ORDER)], ids=["ad", "order"]
)
def test_on_a_host_that_is_not_tracked_nothing_is_kept(shop: Shop, path: str, body: bytes) -> None:
    assert shop.post(path, body, Host="elsewhere.example").status_int == 202
    assert (shop.events, shop.rejected()) == ([], {"vtexads_host": 1})


def test_a_changed_url_is_accepted_as_an_unsigned_one(shop: Shop) -> None:
    url = shop.sign(url="https://alpha.example/", query="shoes", position=3)
    assert shop.post(url.replace("alpha", "omega")).status_int == 202
    click = shop.event
    assert (click.trust, click.url, click.query, click.position) == ("anonymous", "", "", None)
    assert click.ad_id == AD_ID


def test_the_url_of_a_site_that_is_no_more_is_an_unsigned_one(shop: Shop) -> None:
    gone = Ad(AD_ID, "gone", "https://alpha.example/")
    shop.post(AdSigner(SECRET).urls(gone, "/_clicks").click_url)
    assert (shop.event.trust, shop.event.site, shop.event.url) == ("anonymous", "shop", "")


def test_unsigned_beacons_count_only_where_the_site_says_so(shop_of: Callable[..., Shop]) -> None:
    shop = shop_of(count_trust=("signed", "session", "keyed"))
    shop.post(CLICK)
    shop.post(shop.sign())
    assert [event.drop_reason for event in shop.events] == ["trust", ""]


AGENTS = {"okhttp/4.12.0": "", "curl/8.5.0": "", "newtail": "", "Googlebot/2.1": "googlebot"}


@pytest.mark.parametrize(("agent", "robot"), AGENTS.items(), ids=AGENTS)
def test_only_crawlers_that_say_so_are_robots(shop: Shop, agent: str, robot: str) -> None:
    shop.post(User_Agent=agent)
    assert bool(shop.event.robot) == bool(robot)
    assert shop.event.drop_reason == ("robot" if robot else "")


def test_whoever_asks_not_to_be_counted_is_thanked_and_not_kept(shop: Shop) -> None:
    for path, body in ((CLICK, BOTH), (PATHS["view"], BOTH), (CONVERSION, ORDER)):
        assert shop.post(path, body, Sec_GPC="1").status_int == 202
    shop.clicks.door.routes.open_reader().close()
    assert (shop.events, shop.clicks.door.routes.read_health()["opted_out"]) == ([], 3)


# --- orders --------------------------------------------------------------------------------------


def test_an_order_is_kept_with_what_was_paid_for_it(shop: Shop) -> None:
    shop.post(CONVERSION, ORDER)
    order = shop.event
    assert isinstance(order, Conversion)
    assert (order.order_id, order.value, order.currency) == ("123", 1899.0 + 2 * 400.0, "")
    assert (order.site, order.source, order.trust, order.session) == (
        "shop",
        "vtexads",
        "anonymous",
        SESSION,
    )
    assert json.loads(order.items) == [
        {
            "sku": "12221",
            "product_id": "4567",
            "seller_id": "1234",
            "quantity": 1,
            "price": 2000.0,
            "promotional_price": 1899.0,
        },
        {
            "sku": "12222",
            "product_id": "4568",
            "quantity": 2,
            "price": 500.0,
            "promotional_price": 400.0,
        },
    ]


def order(**changes: Any) -> bytes:
    return json.dumps(json.loads(ORDER) | changes).encode()


def test_an_order_of_the_kotlin_library_is_accepted(shop: Shop) -> None:
    items = [{"product_sku": "12221", "quantity": 2, "price": 9.5}]
    shop.post(CONVERSION, order(items=items), User_Agent="okhttp/4.12.0")
    assert (shop.event.value, json.loads(shop.event.items)) == (19.0, items)


def test_the_publisher_of_an_order_names_its_site(shop: Shop) -> None:
    shop.post(CONVERSION, order(publisher_id="46"))
    assert shop.event.site == "blog"


VALUES: dict[str, tuple[list[dict[str, Any]], float | None]] = {
    "no items": ([], None),
    "an item without a price": ([{"sku": "1", "quantity": 1}], None),
    "an item without a quantity": ([{"sku": "1", "price": 5}], None),
    "no discount": ([{"quantity": 2, "price": 5, "promotional_price": None}], 10.0),
    "a discount of nothing": ([{"quantity": 2, "price": 5, "promotional_price": 0}], 10.0),
    "a price nobody pays": ([{"quantity": 1, "price": 1e300}], None),
    "more items than are kept": ([{"quantity": 1, "price": 1}] * 150, 150.0),
}


@pytest.mark.parametrize(("items", "value"), VALUES.values(), ids=VALUES)
def test_the_value_of_an_order_is_the_sum_of_its_items_or_not_known(
    shop: Shop, items: list[dict[str, Any]], value: float | None
) -> None:
    assert shop.post(CONVERSION, order(items=items)).status_int == 202
    assert shop.event.value == value


def test_of_items_only_known_and_bounded_fields_are_kept(shop: Shop) -> None:
    item = {
        "sku": "x" * 300,
        "name": "secret",
        "price": 1.5,
        "quantity": 10**13,
        "product_id": None,
    }
    shop.post(CONVERSION, order(items=[item] * 150))
    kept = json.loads(shop.event.items)
    assert kept == [{"sku": "x" * 64, "price": 1.5}] * 100


def test_an_order_reported_twice_is_known_as_one_whoever_reports_it(shop: Shop) -> None:
    shop.post(CONVERSION, order())
    shop.post(CONVERSION, order(user_id="another", session_id="other"))
    shop.post(CONVERSION, order(order_id="124"))
    shop.post(CONVERSION, order(publisher_id="46"))
    keys = [event.dedupe_key for event in shop.events]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


def test_an_order_of_nobody_reported_twice_is_known_as_one(shop: Shop) -> None:
    shop.post(CONVERSION, order(user_id="", session_id=""))
    shop.post(CONVERSION, order(user_id="", session_id=""))
    one, other = (event.dedupe_key for event in shop.events)
    assert one == other != ""


def test_orders_without_an_id_are_never_the_same(shop: Shop) -> None:
    shop.post(CONVERSION, order(order_id=""))
    assert (shop.event.order_id, shop.event.dedupe_key) == ("", "")


def test_hashed_personal_data_of_an_order_is_not_kept(shop: Shop, tmp_path: Path) -> None:
    shop.post(CONVERSION, order(email_hashed="9f86d081884c7d65", phone_hashed="60303ae22b998861"))
    kept = _bytes_of(tmp_path / "journal")
    assert b"9f86d081" not in kept
    assert b"60303ae2" not in kept


# --- the urls ------------------------------------------------------------------------------------

URLS = f"{BEACON}urls"
ASK = f"{URLS}?ad_id={AD_ID}"


@pytest.mark.parametrize("key", ["read-key", "ingest-key", "admin-key"])
@pytest.mark.parametrize(
    ("name", "prefix"),
    [("X-Api-Key", ""), ("Authorization", "Bearer "), ("", "")],
    ids=["header", "bearer", "query"],
)
def test_any_key_of_the_site_opens_the_urls(shop: Shop, key: str, name: str, prefix: str) -> None:
    path = ASK if name else f"{ASK}&api_key={key}"
    answer = shop.call("GET", path, **({name: prefix + key} if name else {}))
    assert (answer.status_int, answer.headers["Cache-Control"]) == (200, "no-store")
    assert list(answer.json) == ["impression_url", "view_url", "click_url"]


def ask(shop: Shop, path: str = ASK, key: str = "ingest-key", **headers: str) -> TestResponse:
    return shop.call("GET", path, X_Api_Key=key, **headers)


def test_the_urls_are_absolute_and_lead_where_they_were_asked_for(shop: Shop) -> None:
    base, headers = (
        "https://shop.example/mount",
        {"X-Api-Key": "read-key", "Host": "shop.example"},
    )
    request = TestRequest.blank(ASK, base_url=base, headers=headers)
    urls = request.get_response(shop.clicks).json
    for noun in PATHS:
        start = f"{base}{BEACON}{noun}/{AD_ID}?site=shop&sign="
        assert urls[f"{noun}_url"].startswith(start)


@pytest.mark.parametrize(("proxies", "scheme"), [(1, "https"), (0, "http")])
def test_a_named_proxy_says_that_the_urls_are_https(
    shop_of: Callable[..., Shop], proxies: int, scheme: str
) -> None:
    shop = shop_of(trusted_proxies=proxies)
    answer = ask(shop, X_Forwarded_Proto="https", X_Forwarded_For="203.0.113.9")
    assert answer.json["click_url"].startswith(f"{scheme}://")


def test_a_url_that_was_asked_for_says_all_it_was_given(shop: Shop) -> None:
    query_id = new_query_id(now_ms())
    asked = (
        f"&url=https://alpha.example/&query=Tax%20Form&position=3&module=BOOS&query_id={query_id}"
    )
    url = urlsplit(ask(shop, ASK + asked).json["click_url"])
    shop.post(f"{url.path}?{url.query}")
    click = shop.event
    assert (click.trust, click.site, click.url) == ("signed", "shop", "https://alpha.example/")
    assert (click.query, click.position, click.module_code, click.query_id) == (
        "tax form",
        3,
        "BOOS",
        query_id,
    )


def test_of_a_parameter_that_is_sent_twice_the_first_counts(shop: Shop) -> None:
    assert f"click/{AD_ID}?" in ask(shop, f"{ASK}&ad_id=another").json["click_url"]


def failed(answer: TestResponse, status: int, code: str) -> str:
    """Check the shape of an error; return its message."""
    assert (answer.status_int, answer.content_type) == (status, "application/json")
    assert list(answer.json) == ["error"]
    assert list(answer.json["error"]) == ["code", "message"]
    assert answer.json["error"]["code"] == code
    return str(answer.json["error"]["message"])


@pytest.mark.parametrize("key", ["", "wrong"])
def test_without_a_key_of_ours_there_are_no_urls(shop: Shop, key: str) -> None:
    failed(ask(shop, key=key), 401, "UNAUTHORIZED")
    assert shop.rejected() == {"vtexads_key": 1}


def test_two_keys_in_the_query_are_none(shop: Shop) -> None:
    answer = shop.call("GET", f"{ASK}&api_key=read-key&api_key=ingest-key")
    failed(answer, 401, "UNAUTHORIZED")


def test_a_key_opens_no_other_site(shop: Shop) -> None:
    failed(ask(shop, f"{ASK}&site=blog"), 403, "FORBIDDEN")
    assert shop.rejected() == {"vtexads_key": 1}


def test_a_key_of_one_site_is_for_that_site_on_any_host(shop: Shop) -> None:
    assert "site=blog&" in ask(shop, key="blog-key").json["click_url"]


def test_a_key_of_the_install_is_for_the_named_site_or_the_hosts(shop: Shop) -> None:
    named = ask(shop, f"{ASK}&site=blog", "install-key").json["click_url"]
    here = ask(shop, key="install-key").json["click_url"]
    assert ("site=blog&" in named, "site=shop&" in here) == (True, True)


ASKED_WRONGLY = {
    "no ad": ("", "ad_id"),
    "an ad with a slash": ("?ad_id=a/b", "ad_id"),
    "a target that is no address": (f"?ad_id={AD_ID}&url=javascript:x", "url"),
    "a position that is no number": (f"?ad_id={AD_ID}&position=first", "position"),
    "an empty position": (f"?ad_id={AD_ID}&position=", "position"),
    "position 0": (f"?ad_id={AD_ID}&position=0", "position"),
    "an odd module": (f"?ad_id={AD_ID}&module=a+b", "module"),
    "an odd query id": (f"?ad_id={AD_ID}&query_id=1", "query_id"),
    "a site twice": (f"?ad_id={AD_ID}&site=shop&site=shop", "site"),
    "too many parameters": ("?" + "a=b&" * 300, "parameters"),
}


@pytest.mark.parametrize(("query", "named"), ASKED_WRONGLY.values(), ids=ASKED_WRONGLY)
def test_a_wrong_parameter_is_named(shop: Shop, query: str, named: str) -> None:
    assert named in failed(ask(shop, URLS + query), 400, "BAD_REQUEST")
    assert shop.rejected() == {"vtexads_invalid": 1}


def test_an_install_key_on_an_unknown_host_must_name_a_site(shop: Shop) -> None:
    answer = ask(shop, ASK, "install-key", Host="elsewhere.example")
    assert "name the site" in failed(answer, 400, "BAD_REQUEST")


def test_an_install_key_opens_no_site_that_is_not_there(shop: Shop) -> None:
    failed(ask(shop, f"{ASK}&site=gone", "install-key"), 403, "FORBIDDEN")


def test_the_urls_can_only_be_asked_for_with_get(shop: Shop) -> None:
    answer = shop.call("POST", ASK, X_Api_Key="ingest-key")
    failed(answer, 405, "METHOD_NOT_ALLOWED")
    assert answer.headers["Allow"] == "GET, HEAD"


def test_a_head_of_the_urls_has_no_body(shop: Shop) -> None:
    answer = shop.call("HEAD", ASK, X_Api_Key="ingest-key")
    assert (answer.status_int, answer.body) == (200, b"")


def test_no_page_of_another_site_may_read_the_urls(shop: Shop) -> None:
    answer = ask(shop, Origin="https://evil.example")
    assert not [name for name in answer.headers if name.startswith("Access-Control")]


@pytest.mark.usefixtures("still_limits")
def test_too_many_questions_are_told_when_to_come_again(shop_of: Callable[..., Shop]) -> None:
    shop = shop_of(redirect_rate=1)
    answers = [ask(shop, key="wrong") for _ in range(102)]
    failed(answers[-1], 429, "TOO_MANY_REQUESTS")
    assert answers[-1].headers["Retry-After"] == "1"


# --- anything at all -----------------------------------------------------------------------------

DOCUMENTED = {
    f"/_clicks/{endpoint.path.replace('{ad_id}', AD_ID)}": {
        int(status) for status in endpoint.operations["post"]["responses"]
    }
    for endpoint in VtexAds.endpoints
    if "post" in endpoint.operations
}
PIECES = [
    b"{",
    b"}",
    b"[",
    b"]",
    b'"user_id"',
    b'"items"',
    b":",
    b",",
    b'"x"',
    b"1e999",
    b"null",
    b"=",
    b"&",
    b"%",
]
texts = st.sampled_from(
    ["user_id", "session_id", "items", "order_id", "created_at", "publisher_id"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts | st.text(max_size=3), inner),
    max_leaves=8,
)
bodies = (
    st.binary(max_size=40)
    | st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join)
    | st.dictionaries(texts, values).map(lambda value: json.dumps(value).encode())
)


@hypothesis_settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=300,
    deadline=None,
)
@given(
    path=st.sampled_from(sorted(DOCUMENTED)),
    body=bodies,
    kind=st.sampled_from([JSON, FORM, "text/plain", ""]),
    query=st.text(max_size=10),
)
def test_any_body_gets_a_documented_answer(
    shop: Shop, path: str, body: bytes, kind: str, query: str
) -> None:
    request = TestRequest.blank(path, method="POST", environ={"HTTP_HOST": "shop.example"})
    request.body = body
    request.environ |= {"CONTENT_TYPE": kind, "QUERY_STRING": query.encode().decode("latin-1")}
    answer = request.get_response(shop.clicks)
    assert answer.status_int in DOCUMENTED[path] - {503}
    assert isinstance(answer.json, dict if answer.status_int == 202 else list)


@hypothesis_settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=150,
    deadline=None,
)
@given(ad_id=st.binary(min_size=1, max_size=12), query=st.binary(max_size=20))
def test_any_path_and_query_get_a_documented_answer(shop: Shop, ad_id: bytes, query: bytes) -> None:
    request = TestRequest.blank("/", method="POST", environ={"HTTP_HOST": "shop.example"})
    request.body = BOTH
    request.environ["PATH_INFO"] = f"{BEACON}click/{ad_id.decode('latin-1')}"
    request.environ["QUERY_STRING"] = query.decode("latin-1")
    assert request.get_response(shop.clicks).status_int in (202, 404)


def test_what_was_kept_of_anything_reaches_the_store(shop: Shop) -> None:
    long = "x" * 5000
    strange = json.dumps({"user_id": long + "\u202e\x00", "session_id": "\n" + long}).encode()
    for noun in PATHS:
        assert (
            shop.post(f"{BEACON}{noun}/{'%F0%9F%91%9F' * 300}?pos={long}", strange).status_int
            == 202
        )
    assert (
        shop.post(
            CONVERSION, order(order_id=long, items=[{"price": -1e12, "quantity": 1e12}])
        ).status_int
        == 202
    )
    shop.clicks.door.routes.open_reader().close()
    health = shop.clicks.door.routes.read_health()
    assert (health["stored"], health["dropped"]) == (4, {})
    assert max(len(event.session) for event in shop.events) <= 64
    assert max(len(event.ad_id) for event in shop.events) <= 128
    assert [event.order_id for event in shop.events if isinstance(event, Conversion)] == ["x" * 64]


# --- real senders --------------------------------------------------------------------------------


@pytest.fixture
def address(shop: Shop) -> Iterator[str]:
    """Where the install is served for real; requests without a Host of ours are the shop's."""
    with running(shop.clicks, 0) as address:
        yield address


def test_curl_as_documented_is_accepted(shop: Shop, address: str) -> None:
    if not shutil.which("curl"):
        assert os.environ.get("CI") != "true", "install curl where the tests run"
        pytest.skip("curl is not installed")
    command = ["curl", "-s", "-i", "--location", address + CLICK, "--data", BOTH.decode()]
    for header in (
        "Host: shop.example",
        "accept: application/json",
        "content-type: application/json",
    ):
        command += ["--header", header]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    head, _, body = said.partition("\r\n\r\n" if "\r\n\r\n" in said else "\n\n")
    assert head.startswith("HTTP/1.1 202 ")
    assert json.loads(body) == {"messages": ["click will be processed soon"]}
    assert (shop.event.session, shop.event.robot) == (SESSION, "")


def test_an_app_of_the_kotlin_library_is_counted_and_answered_within_its_second(
    shop: Shop, address: str
) -> None:
    host = urlsplit(address).netloc
    connection = http.client.HTTPConnection(host, timeout=1)
    headers = {
        "Host": "shop.example",
        "Content-Type": "application/json; charset=utf-8",
        "User-Agent": "okhttp/4.12.0",
        "Accept-Encoding": "gzip",
    }
    body = b'{"session_id":"s-1","ads_sourcing_components":["SDK_ADS_KOTLIN"]}'
    connection.request("POST", shop.sign("view"), body, headers)
    assert connection.getresponse().status == 202
    connection.close()
    assert (shop.event.robot, shop.event.drop_reason) == ("", "")


def test_many_senders_at_once_lose_nothing(shop: Shop, address: str) -> None:
    def send(sender: int) -> None:
        connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
        for number in range(25):
            body = json.dumps({"user_id": f"{sender}-{number}"}).encode()
            connection.request("POST", CLICK, body, {"Host": "shop.example"})
            assert connection.getresponse().read()
        connection.close()

    threads = [threading.Thread(target=send, args=[sender]) for sender in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({event.visitor for event in shop.events}) == 100


PEOPLE = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36"
STORE = """<!doctype html><title>waiting</title><script>
const url = "http://localhost:PORT/_clicks/v1/beacon/click/";
const session_id = undefined;
navigator.sendBeacon(url + "form", new URLSearchParams({session_id: "s", user_id: "u"}));
navigator.sendBeacon(url + "nobody", new URLSearchParams({session_id}));
navigator.sendBeacon(url + "text", JSON.stringify({session_id: "s"}));
const json = {type: "application/json"};
navigator.sendBeacon(url + "blob", new Blob([JSON.stringify({session_id: "s"})], json));
const headers = {"Content-Type": "application/json"};
fetch(url + "none", {method: "POST", credentials: "include", headers, body: "{}"})
  .then((answer) => answer.json())
  .then((wrong) => { document.title = `${wrong.length} problems`; });
</script>"""


@pytest.fixture
def chromium() -> str:
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        assert not os.environ.get("CI"), "CI must have Chromium"
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    return found


def test_a_page_of_another_site_sends_its_beacons_from_a_browser(
    chromium: str, tmp_path: Path
) -> None:
    def store(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/html")])
        return [STORE.replace("PORT", environ["SERVER_PORT"]).encode()]

    clicks = ClickMW(store, secret=SECRET, store=f"sqlite:///{tmp_path / 'clicks.db'}")
    with running(clicks, 0) as address:
        command = [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            f"--user-data-dir={tmp_path / 'profile'}", f"--user-agent={PEOPLE}",
            "--virtual-time-budget=3000", "--dump-dom", address + "/",
        ]  # fmt: skip
        page = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    clicks.door.worker.close()
    assert "<title>3 problems</title>" in page.stdout
    kept = Shop(clicks, TestApp(clicks)).events
    found = {event.ad_id: event.session for event in kept if isinstance(event, Click)}
    assert found == {"form": "s", "nobody": "", "text": "s", "blob": "s"}
