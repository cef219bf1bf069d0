"""The URLs of an ad: what they say, who can write them, and how a page or a server gets them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import flask
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from webtest import TestApp

from clickmw import ClickMW
from clickmw.ad_urls import AD_ID as AD_IDS
from clickmw.ad_urls import LENGTH_LIMIT, TARGET, Ad, AdSigner, AdUrls
from clickmw.errors import BadEvent
from clickmw.tokens import Mac, derive_keys

SECRET = "thirty-two characters or more are fine"
AD_ID = "4a94bc6e-7db1-425f-8430-cb4d17488b3b"
QUERY_ID = "AZdz2LAAAAAAAAAB"
FULL = Ad(AD_ID, "shop", "https://alpha.example/shoes/7", "Running shoes", 3, "BWEB", QUERY_ID)
PATHS = ("/v1/beacon/impression/", "/v1/beacon/view/", "/v1/beacon/click/")

signer = AdSigner(SECRET)


def told(url: str, ad_id: str = AD_ID, more: str = "", reader: AdSigner = signer) -> Ad | None:
    """Return what *reader* takes from *url* after a client has added *more*."""
    query = url.partition("?")[2] + more
    return reader.read(ad_id, parse_qsl(query, keep_blank_values=True))


ads = st.builds(
    Ad,
    ad_id=st.from_regex(AD_IDS, fullmatch=True),
    site=st.sampled_from(["shop", "default", "nps.gov"]),
    url=st.just("") | st.from_regex(TARGET, fullmatch=True).filter(lambda url: len(url) < 100),
    query=st.text(max_size=60).map(str.strip).filter(str.isprintable),
    position=st.none() | st.integers(1, 100_000),
    module_code=st.just("") | st.from_regex(r"[A-Za-z0-9_-]{1,32}", fullmatch=True),
    query_id=st.just("") | st.just(QUERY_ID),
)


@given(ads)
@example(FULL)
@example(Ad("a", "shop", query="100 % & = + # ?"))
def test_an_ad_reads_back_as_it_was_signed(ad: Ad) -> None:
    assert told(signer.urls(ad).click_url, ad.ad_id) == ad


def test_the_three_urls_differ_in_what_they_report() -> None:
    urls = signer.urls(FULL, "https://shop.example/_clicks")
    bases = [f"https://shop.example/_clicks{path}{AD_ID}?" for path in PATHS]
    assert [url.partition("?")[0] + "?" for url in urls] == bases
    assert len({url.partition("?")[2] for url in urls}) == 1


def test_the_url_says_in_words_what_it_knows() -> None:
    query = signer.urls(FULL).click_url.partition("?")[2]
    assert [name for name, _ in parse_qsl(query)] == [
        *("site", "url", "query", "position", "module", "query_id", "sign")
    ]
    assert query.startswith(
        "site=shop&url=https%3A%2F%2Falpha.example%2Fshoes%2F7&query=Running+shoes&position=3"
    )


def test_what_a_client_adds_behind_the_signature_changes_nothing() -> None:
    url = signer.urls(FULL).click_url
    assert told(url, more="&pos=9&session_id=s&position=9&url=https://evil.example/") == FULL


def test_what_a_proxy_puts_before_changes_nothing() -> None:
    assert told(signer.urls(FULL).click_url.replace("?", "?utm_source=mail&")) == FULL


def test_a_client_may_escape_the_url_differently() -> None:
    url = signer.urls(FULL).click_url
    again = urlencode(parse_qsl(url.partition("?")[2]), quote_via=quote)
    assert "%20" in again
    assert told("?" + again) == FULL


TAMPERED = {
    "another site": ("site=shop", "site=blog"),
    "another target": ("alpha", "omega"),
    "another query": ("Running", "Walking"),
    "another position": ("position=3", "position=1"),
    "another module": ("BWEB", "BOOS"),
    "no position": ("&position=3", ""),
    "a second url before the signature": ("&sign=", "&url=https%3A%2F%2Fevil.example%2F&sign="),
    "another order": ("position=3&module=BWEB", "module=BWEB&position=3"),
    "a signature cut short": ("sign=", "sign=&was="),
    "no signature": ("&sign=", "&was="),
    "a signature of other characters": ("sign=", "sign=%C3%A9"),
}


@pytest.mark.parametrize(("old", "new"), TAMPERED.values(), ids=TAMPERED)
def test_a_changed_url_is_not_believed(old: str, new: str) -> None:
    url = signer.urls(FULL).click_url
    assert old in url
    assert told(url.replace(old, new)) is None


def test_the_signature_of_one_ad_is_none_for_another() -> None:
    assert told(signer.urls(FULL).click_url, "another-ad") is None


@given(st.text(max_size=8), st.text(max_size=8), st.text(max_size=8))
def test_text_cannot_be_moved_from_one_fact_to_the_next(a: str, b: str, c: str) -> None:
    one = signer.urls(Ad("x", "shop", "https://a.example/" + quote(a), quote(b) + quote(c)))
    other = [
        ("site", "shop"),
        ("url", "https://a.example/" + quote(a) + quote(b)),
        ("query", quote(c)),
    ]
    sign = one.click_url.rpartition("sign=")[2]
    assert b == "" or signer.read("x", [*other, ("sign", sign)]) is None


def test_a_fact_cannot_be_hidden_in_the_one_before() -> None:
    sign = signer.urls(Ad("x", "shop", "/a", "b")).click_url.rpartition("sign=")[2]
    assert signer.read("x", [("site", "shop"), ("url", "/aquery b"), ("sign", sign)]) is None


def test_urls_of_another_secret_are_not_believed() -> None:
    other = AdSigner("another secret of thirty-two characters")
    assert told(other.urls(FULL).click_url) is None


def test_the_key_of_links_signs_no_ads() -> None:
    key_of_links = Mac(derive_keys(SECRET, (), "redirect")[0])
    assert signer._macs[0](b"anything") != key_of_links(b"anything")


def test_urls_of_an_old_secret_are_still_believed() -> None:
    newer = AdSigner("a newer secret of thirty-two characters", (SECRET,))
    assert told(signer.urls(FULL).click_url, reader=newer) == FULL
    assert told(newer.urls(FULL).click_url) is None


WRONG: dict[str, dict[str, Any]] = {
    "no ad id": {"ad_id": ""},
    "an ad id with a slash": {"ad_id": "a/b"},
    "an ad id that means the folder above": {"ad_id": ".."},
    "an ad id of two lines": {"ad_id": "a\nb"},
    "an ad id with a space": {"ad_id": "a b"},
    "an ad id beyond ascii": {"ad_id": "é"},
    "an endless ad id": {"ad_id": "a" * 129},
    "a script for a target": {"url": "javascript:alert(1)"},
    "a target without a scheme": {"url": "//evil.example/"},
    "a relative target": {"url": "shoes/7"},
    "a target without a host": {"url": "https:///shoes"},
    "a target with a zero byte": {"url": "https://alpha.example/\x00"},
    "a target with a space": {"url": "https://alpha.example/a b"},
    "an endless target": {"url": "https://alpha.example/" + "a" * 2048},
    "a target that is too long once escaped": {"url": "https://alpha.example/" + "é" * 1000},
    "position 0": {"position": 0},
    "an endless position": {"position": 100_001},
    "a position that is a word": {"position": "3"},
    "a position that is true": {"position": True},
    "a module of odd characters": {"module_code": "a b"},
    "a query id that is none": {"query_id": "AZdz"},
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
def test_what_no_beacon_could_use_is_refused_with_the_reason(change: dict[str, Any]) -> None:
    name = next(iter(change)).removesuffix("_code")
    with pytest.raises(BadEvent, match=f"{name} |URLs of this ad"):
        signer.urls(FULL._replace(**change))


def test_a_query_too_long_for_a_url_is_left_out() -> None:
    urls = signer.urls(FULL._replace(query="鞋" * 600))
    assert told(urls.click_url) == FULL._replace(query="")
    assert max(map(len, urls)) < LENGTH_LIMIT


def test_half_a_character_does_not_break_the_url() -> None:
    ad = FULL._replace(url="https://alpha.example/\ud800")
    assert told(signer.urls(ad).click_url) == ad._replace(url="https://alpha.example/?")


# --- in a page -----------------------------------------------------------------------------------

SITES = [
    {"handle": "shop", "hosts": ["shop.example"]},
    {"handle": "blog", "hosts": ["blog.example"]},
]


class Shop:
    """An application that asks for the URLs of an ad while it answers."""

    def __init__(self, folder: Any, **settings: Any) -> None:
        self.asked: dict[str, Any] = {"ad_id": AD_ID, "url": "https://alpha.example/"}
        self.clicks = ClickMW(
            self.page, secret=SECRET, store=f"sqlite:///{folder / 'clicks.db'}", **settings
        )

    def page(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        urls = self.clicks.ad_urls(**self.asked)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return ["\n".join(urls).encode()]

    def urls(self, host: str = "shop.example", **environ: str) -> AdUrls:
        browser = TestApp(self.clicks, extra_environ={"HTTP_HOST": host} | environ)
        return AdUrls(*browser.get("/search").text.splitlines())


@pytest.fixture
def shop_at(tmp_path: Any) -> Any:
    made: list[Shop] = []

    def make(**settings: Any) -> Shop:
        made.append(Shop(tmp_path, **settings))
        return made[-1]

    yield make
    for shop in made:
        shop.clicks.door.worker.close()


def test_a_page_gets_paths_below_its_own_mount_point(shop_at: Callable[..., Shop]) -> None:
    urls = shop_at(prefix="/count").urls(SCRIPT_NAME="/shop")
    assert [url.partition(AD_ID)[0] for url in urls] == ["/shop/count" + path for path in PATHS]


def test_the_host_of_the_request_names_the_site(shop_at: Callable[..., Shop]) -> None:
    shop = shop_at(sites=SITES)
    found = [told(shop.urls(host).click_url) for host in ("shop.example", "blog.example:8080")]
    assert [ad and ad.site for ad in found] == ["shop", "blog"]


def test_a_page_may_name_its_site(shop_at: Callable[..., Shop]) -> None:
    shop = shop_at(sites=SITES)
    shop.asked["site"] = "blog"
    ad = told(shop.urls().click_url)
    assert ad is not None
    assert ad.site == "blog"


def test_all_details_of_a_page_are_signed(shop_at: Callable[..., Shop]) -> None:
    shop = shop_at()
    shop.asked = {
        "ad_id": AD_ID,
        "url": "/landing",
        "query": "tax",
        "position": 2,
        "module": "BOOS",
        "query_id": QUERY_ID,
    }
    assert told(shop.urls().view_url) == Ad(
        AD_ID, "default", "/landing", "tax", 2, "BOOS", QUERY_ID
    )


def test_an_untracked_host_gets_urls_that_say_nothing(shop_at: Callable[..., Shop]) -> None:
    urls = shop_at(sites=SITES).urls("elsewhere.example")
    assert list(urls) == [f"/_clicks{path}{AD_ID}" for path in PATHS]


def test_wrong_details_do_not_break_the_page_and_are_counted(shop_at: Callable[..., Shop]) -> None:
    shop = shop_at()
    shop.asked = {"ad_id": "a/b", "url": "javascript:alert(1)"}
    assert shop.urls().click_url == "/_clicks/v1/beacon/click/a%2Fb"
    shop.clicks.door.routes.open_reader().close()
    assert shop.clicks.door.routes.read_health()["unsigned"]["ad"] == 1


def test_what_a_template_does_not_have_is_left_out(shop_at: Callable[..., Shop]) -> None:
    shop = shop_at()
    nothing = dict.fromkeys(["url", "query", "position", "module", "site", "query_id"])
    shop.asked = {"ad_id": 17, **nothing}
    assert told(shop.urls().click_url, "17") == Ad("17", "default")


def test_outside_a_request_the_default_site_is_meant(shop_at: Callable[..., Shop]) -> None:
    urls = shop_at().clicks.ad_urls(AD_ID)
    assert urls.click_url.startswith(f"/_clicks/v1/beacon/click/{AD_ID}?site=default&sign=")


def test_outside_a_request_the_site_and_the_request_can_be_handed_over(
    shop_at: Callable[..., Shop],
) -> None:
    clicks = shop_at(sites=SITES).clicks
    named = told(clicks.ad_urls(AD_ID, site="blog").click_url)
    handed = clicks.ad_urls(AD_ID, environ={"HTTP_HOST": "shop.example", "SCRIPT_NAME": "/a b"})
    assert named is not None
    assert named.site == "blog"
    assert handed.click_url.startswith("/a%20b/_clicks/v1/beacon/click/")


def test_a_flask_template_has_them(tmp_path: Any) -> None:
    app = flask.Flask(__name__, instance_path=str(tmp_path))
    app.config["SECRET_KEY"] = SECRET
    clicks = ClickMW(app)
    app.add_url_rule(
        "/", view_func=lambda: flask.render_template_string("{{ clicks.ad_urls('a1').view_url }}")
    )
    with app.test_client() as client:
        assert client.get("/").text.startswith("/_clicks/v1/beacon/view/a1?site=default&amp;sign=")
    clicks.door.worker.close()


def test_many_threads_may_sign_at_once() -> None:
    found: list[AdUrls] = []
    threads = [
        threading.Thread(target=lambda: found.extend(signer.urls(FULL) for _ in range(500)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) == {signer.urls(FULL)}
