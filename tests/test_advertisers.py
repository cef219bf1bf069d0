"""Whose clicks are whose: by ad first, then by host, else the host is its own advertiser."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickmw.events import Click
from clickmw.middleware import store_of
from clickmw.settings import Settings
from clickmw.sites import Advertiser, Network, Site
from clickmw.stores._sqlite_dictionaries import advertiser_number
from clickmw.stores.base import AdvertiserRow

#: The tests run on each of these kinds of store.
STORES = ("sqlite", "postgresql")

NOW = 1_750_000_000_000
DAY_MS = 86_400_000
FIRST, LAST = date(2025, 6, 1), date(2025, 6, 30)
TODAY = date(2025, 6, 15)
ALPHA = Advertiser(
    id=123,
    name="Alpha Store",
    slug="alpha-store",
    network=Network(id=7, name="Awin"),
    hosts=("alpha.example", "shop.alpha.example"),
    ad_ids=("ad-1",),
)
BETA = Advertiser(id=124, name="Beta", slug="beta", hosts=("beta.example",))
SITES = (Site(handle="default", advertisers=(ALPHA, BETA)), Site(handle="other", hosts=("o",)))


def click(url: str, ad_id: str = "", *, day: int = 0, **changes: Any) -> Click:
    kind = "ad" if ad_id else "result"
    found = Click(NOW + day * DAY_MS, "default", url, 1, source="vtexads", ad_id=ad_id, kind=kind)
    return found._replace(**changes)


@pytest.fixture
def store(new_store: Callable[..., Any]) -> Iterator[Any]:
    with closing(new_store(sites=SITES)) as made:
        yield made
        assert made.check() == []


def read(store: Any, *, limit: int = 100, **asked: Any) -> tuple[int, list[AdvertiserRow]]:
    with closing(store.reader()) as reader:
        return reader.daily_clicks(
            asked.pop("first", FIRST), asked.pop("last", LAST), asked.pop("sites", None), limit=limit, **asked
        )  # fmt: skip


def names(store: Any) -> list[tuple[str, int]]:
    return [(row.advertiser_name, row.clicks) for row in read(store)[1]]


@pytest.mark.parametrize(
    ("url", "ad_id", "name"),
    [
        pytest.param("https://alpha.example/a", "", "Alpha Store", id="host"),
        pytest.param(
            "https://shop.alpha.example:8443/a", "", "Alpha Store", id="another-host-of-it"
        ),
        pytest.param("https://beta.example/", "ad-1", "Alpha Store", id="ad-before-host"),
        pytest.param("https://beta.example/", "ad-9", "Beta", id="ad-that-nobody-names"),
        pytest.param("", "ad-1", "Alpha Store", id="ad-without-url"),
        pytest.param("https://gamma.example/", "", "gamma.example", id="own-host"),
        pytest.param(
            "https://sub.beta.example/", "", "sub.beta.example", id="a-subdomain-is-another"
        ),
        pytest.param("/own", "", "default", id="path-of-the-site"),
        pytest.param("", "ad-9", "default", id="nothing-known"),
    ],
)
def test_a_click_belongs_to_its_ad_then_to_its_host(
    url: str, ad_id: str, name: str, store: Any, feed_of: Callable[..., Any]
) -> None:
    feed_of(store)(click(url, ad_id))
    assert names(store) == [(name, 1)]


def test_a_row_says_all_there_is_to_say(store: Any, feed_of: Callable[..., Any]) -> None:
    feed_of(store)(click("https://alpha.example/a"), click("", "ad-1"))
    assert read(store) == (
        1,
        [AdvertiserRow(TODAY, "default", 123, "Alpha Store", "alpha-store", 7, "Awin", 2)],
    )


def test_a_host_of_its_own_has_a_number_that_is_the_same_everywhere(
    store: Any, feed_of: Callable[..., Any]
) -> None:
    feed_of(store)(click("https://gamma.example/"))
    number = advertiser_number("gamma.example")
    row = AdvertiserRow(TODAY, "default", number, "gamma.example", "gamma.example", None, None, 1)
    assert read(store) == (1, [row])
    assert number == 215_383_654_695_375


@given(st.text(max_size=20))
def test_such_a_number_is_large_and_exact_in_json(host: str) -> None:
    assert 2**47 <= advertiser_number(host) < 2**48


def test_another_site_does_not_know_the_advertisers_of_this_one(
    store: Any, feed_of: Callable[..., Any]
) -> None:
    feed_of(store)(click("https://alpha.example/a", site="other"), click("/own", site="other"))
    assert names(store) == [("alpha.example", 1), ("other", 1)]


def test_rows_come_newest_first_then_most_clicked_then_by_name(
    store: Any, feed_of: Callable[..., Any]
) -> None:
    hosts = ["alpha", "beta", "beta", "gamma", "delta"]
    feed_of(store)(
        *(click(f"https://{host}.example/") for host in hosts),
        click("https://zeta.example/", day=1),
    )
    found = [(row.day.day, row.advertiser_name) for row in read(store)[1]]
    assert found == [
        (16, "zeta.example"),
        (15, "Beta"),
        (15, "Alpha Store"),
        (15, "delta.example"),
        (15, "gamma.example"),
    ]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_pages_together_are_all_rows_once(
    size: int, store: Any, feed_of: Callable[..., Any]
) -> None:
    chance = random.Random(1)
    hosts = [f"https://{chance.randrange(9)}.example/" for _ in range(60)]
    feed_of(store)(*(click(host, day=chance.randrange(3)) for host in hosts))
    total, whole = read(store)
    pages = [read(store, limit=size, offset=start) for start in range(0, total, size)]
    assert [row for _, page in pages for row in page] == whole
    assert {count for count, _ in pages} == {total} == {len(whole)}


def test_behind_the_last_row_there_is_the_number_alone(
    store: Any, feed_of: Callable[..., Any]
) -> None:
    feed_of(store)(click("https://alpha.example/"))
    assert read(store, offset=5) == (1, [])


@pytest.mark.parametrize(
    ("asked", "rows"),
    [
        pytest.param({}, 2, id="all"),
        pytest.param({"sites": ["default"]}, 1, id="one-site"),
        pytest.param({"sites": ["default", "other"]}, 2, id="both"),
        pytest.param({"sites": ["unknown"]}, 0, id="unknown"),
        pytest.param({"sites": []}, 0, id="none"),
        pytest.param({"first": TODAY, "last": TODAY}, 2, id="that-day"),
        pytest.param({"first": FIRST, "last": date(2025, 6, 14)}, 0, id="before"),
    ],
)
def test_rows_are_those_of_the_sites_and_days(
    asked: dict[str, Any], rows: int, store: Any, feed_of: Callable[..., Any]
) -> None:
    feed_of(store)(click("/own"), click("/own", site="other"))
    total, found = read(store, **asked)
    assert (total, len(found)) == (rows, rows)


def test_only_counted_clicks_of_people_on_results_and_ads_are_an_advertisers(
    store: Any, feed_of: Callable[..., Any]
) -> None:
    url = "https://alpha.example/"
    left_out = [
        click(url, drop_reason="robot", robot="bot"),
        click(url, drop_reason="trust"),
        click(url, kind="related"),
        click(url, kind="source"),
    ]
    key = "0123456789abcdef"
    feed_of(store)(click(url, dedupe_key=key), click(url, dedupe_key=key), *left_out)
    assert names(store) == [("Alpha Store", 1)]


def test_a_click_that_does_not_count_after_all_leaves_its_advertiser(
    store: Any, feed_of: Callable[..., Any]
) -> None:
    feed = feed_of(store)
    key = "0123456789abcdef"
    feed(click("https://beta.example/", dedupe_key=key, received_ms=NOW + 1))
    assert names(store) == [("Beta", 1)]
    feed(click("https://alpha.example/", dedupe_key=key))
    assert names(store) == [("Alpha Store", 1)]


def test_whose_clicks_they_are_follows_the_settings_of_today(
    store: Any, same_store: Callable[..., Any], feed_of: Callable[..., Any]
) -> None:
    feed_of(store)(click("https://alpha.example/"), click("https://gamma.example/"))
    gamma = Advertiser(id=9, name="Gamma", slug="gamma", hosts=("gamma.example",))
    sites = (Site(handle="default", advertisers=(gamma,)),)
    with closing(same_store(store, sites=sites)) as later:
        later.migrate()
        assert names(later) == [("Gamma", 1), ("alpha.example", 1)]
    with closing(same_store(store)) as unknowing:
        unknowing.migrate()
        assert names(unknowing) == [("Gamma", 1), ("alpha.example", 1)]


@pytest.mark.only_sqlite
def test_advertisers_that_stay_the_same_are_not_written_again(store: Any) -> None:
    store.migrate()
    with closing(store.reader()) as reader:
        version = reader._rows("PRAGMA data_version")
        with closing(type(store)(store.path, store.options)) as again:
            again.migrate()
        assert reader._rows("PRAGMA data_version") == version


def test_of_two_advertisers_with_the_same_host_it_is_the_first_ones(
    new_store: Callable[..., Any], feed_of: Callable[..., Any]
) -> None:
    twin = Advertiser(id=123, name="Twin", slug="twin", hosts=("alpha.example", "twin.example"))
    sites = (Site(handle="default", advertisers=(ALPHA, twin)),)
    with closing(new_store(sites=sites)) as store:
        feed_of(store)(click("https://alpha.example/"), click("https://twin.example/"))
        assert names(store) == [("Alpha Store", 2)]


def test_the_view_says_the_same_as_the_reader(store: Any, feed_of: Callable[..., Any]) -> None:
    feed_of(store)(
        *(click(url) for url in ("https://alpha.example/", "/own", "https://gamma.example/")),
        click("", "ad-1", day=1),
        click("/own", site="other"),
    )
    with closing(store.reader()) as reader:
        view = reader._rows(
            "SELECT day, site, advertiser_id, advertiser_name, advertiser_slug, network_id,"
            " network_name, clicks FROM daily_clicks"
        )
    rows = [(row.day.isoformat(), *list(_fields(row))[1:]) for row in read(store)[1]]
    assert sorted(view, key=repr) == sorted(rows, key=repr)
    assert len(rows) == 5


def _fields(row: AdvertiserRow) -> Iterator[Any]:
    return (getattr(row, name) for name in AdvertiserRow.__slots__)


def test_the_store_of_the_settings_knows_their_advertisers() -> None:
    advertiser = {"id": 1, "name": "A", "slug": "a", "hosts": ["a.example"]}
    sites = [{"handle": "www", "advertisers": [advertiser]}]
    settings = Settings.load(
        {"secret": "s" * 32, "sites": sites, "ad_dedupe_window_s": 7}, environ={}
    )
    options = store_of(settings).options  # type: ignore[attr-defined]
    assert [each.name for each in options.sites[0].advertisers] == ["A"]
    assert options.ad_dedupe_window_ms == 7_000
