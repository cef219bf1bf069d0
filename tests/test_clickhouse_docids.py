"""Results that AddSearch names by the MD5 of their URL, on ClickHouse: the same answers as SQLite."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest

from clickmw.events import Click, Event, Search, Shown
from clickmw.sites import Site
from clickmw.stores import open_store
from clickmw.stores.base import Erasure, Filter, Store, StoreOptions, silent
from clickmw.stores.clickhouse import ClickHouseStore
from clickmw.stores.sqlite import SQLiteStore
from tests.test_clickhouse import FIRST, LAST, START_MS, assert_same

OPTIONS = StoreOptions(sites=(Site(handle="default", index_key="testkey"),))
ALL = Filter(first_day=FIRST, last_day=LAST)
HTTPS, HTTP = "https://a.example/1", "http://a.example/1"
DOCID = md5(HTTP.encode()).hexdigest()
PAGE = Search(START_MS, "default", "AAAAAAAAAAAAAAAA", "tax", (Shown(HTTPS, 1, "BWEB"),), 1)
BY_DOCID = Click(
    START_MS + 5, "default", "", doc_id=DOCID, query="tax", source="addsearch", trust="keyed"
)
ON_HTTP = Click(START_MS + 7, "default", HTTP, source="beacon")
HISTORIES: dict[str, tuple[tuple[Event, ...], ...]] = {
    "the-page-first": ((PAGE,), (BY_DOCID,)),
    "the-click-first": ((BY_DOCID,), (PAGE,)),
    "both-at-once": ((BY_DOCID, PAGE),),
    "http-then-https": ((ON_HTTP,), (BY_DOCID,), (PAGE,)),
    "https-then-http": ((PAGE,), (BY_DOCID,), (ON_HTTP,)),
    "never-named": ((BY_DOCID, BY_DOCID._replace(received_ms=START_MS + 9)),),
    "clicks-of-two-days": (
        (BY_DOCID,),
        (BY_DOCID._replace(received_ms=START_MS + 100_000_000),),
        (PAGE,),
    ),
}


def feed_in_turns(store: Store, batches: Any, feed: Any) -> None:
    """Append each batch, and read after it, as a report would."""
    for batch in batches:
        feed(*batch)
        with closing(store.reader()) as reader:
            reader.top_results(ALL, 9)


def clicked(store: Store) -> list[tuple[str, int]]:
    with closing(store.reader()) as reader:
        return [(row.url, row.clicks) for row in reader.top_results(ALL, 9) if row.clicks]


@pytest.mark.sampled(7)
@pytest.mark.parametrize("batches", HISTORIES.values(), ids=HISTORIES)
def test_an_id_means_the_url_that_has_it_whoever_comes_first(
    batches: Any, lite: SQLiteStore, house: ClickHouseStore, feed_of: Callable[..., Any]
) -> None:
    for store in (lite, house):
        feed_in_turns(store, batches, feed_of(store))
    assert_same(lite, house)
    assert house.check() == []
    named = any(event in (PAGE, ON_HTTP) for batch in batches for event in batch)
    urls = {url for url, _ in clicked(house)}
    assert urls & {HTTPS, HTTP, DOCID} >= ({HTTPS} if named else {DOCID})


def test_a_store_that_had_no_such_site_finds_the_urls_it_knew(
    clickhouse_url: str, feed_of: Callable[..., Any]
) -> None:
    with closing(open_store(clickhouse_url, StoreOptions())) as before:
        feed_of(before)(PAGE)
        assert clicked(before) == []
    with closing(open_store(clickhouse_url, OPTIONS)) as after:
        feed_of(after, "1750000000001-00000000aa")(BY_DOCID)
        assert clicked(after) == [(HTTPS, 1)]


def test_without_such_a_site_an_id_means_nothing(
    clickhouse_url: str, feed_of: Callable[..., Any]
) -> None:
    with closing(open_store(clickhouse_url, StoreOptions())) as store:
        feed_of(store)(PAGE, BY_DOCID)
        assert clicked(store) == [(DOCID, 1)]


def test_clicks_on_a_url_that_is_erased_go_with_it(
    house: ClickHouseStore, feed_of: Callable[..., Any]
) -> None:
    feed_of(house)(PAGE, BY_DOCID)
    assert clicked(house) == [(HTTPS, 1)]
    house.erase(Erasure(url=HTTPS), silent)
    assert clicked(house) == []
    assert house.check() == []


def test_a_copy_waits_for_the_urls_that_the_store_waits_for(
    house: ClickHouseStore, feed_of: Callable[..., Any], tmp_path: Path
) -> None:
    feed_of(house)(BY_DOCID)
    house.back_up(tmp_path / "copy.db", silent)
    with closing(SQLiteStore(tmp_path / "copy.db", OPTIONS)) as copy:
        feed_of(copy, "1750000000001-00000000aa")(PAGE)
        assert clicked(copy) == [(HTTPS, 1)]
        assert copy.check() == []
