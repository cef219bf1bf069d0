"""What senders of foreign APIs report, rule by rule: repeats, searches, visitors, results."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date
from hashlib import md5
from typing import Any

import pytest

from clickmw.events import Click, Conversion, Event, Impression, Search, Shown, View, new_query_id
from clickmw.sites import Site
from clickmw.stores.base import Filter

#: The tests run on each of these kinds of store.
STORES = ("sqlite", "postgresql")

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY_MS = 24 * HOUR
NOW = 1_750_000_000_000
ALL_DAYS = Filter(first_day=date(2025, 6, 1), last_day=date(2025, 8, 31))
PAGE = new_query_id(NOW)
ANNA, BEN = "aa" * 8, "bb" * 8
KEY, OTHER_KEY = "0123456789abcdef", "fedcba9876543210"
CLICK = Click(
    NOW, "default", "https://a.example/1", 1, "BWEB", source="searchgov", trust="keyed", query="tax"
)
TOLD = CLICK._replace(source="addsearch", visitor=ANNA, dedupe_key=KEY)
SEARCH = Search(NOW, "default", PAGE, "tax", (), 5, visitor=ANNA, source="addsearch")
OUR_PAGE = SEARCH._replace(source="page", impressions=(Shown("https://a.example/1", 1, "BWEB"),))
AD = Impression(NOW, "default", "ad_impression", source="vtexads", ad_id="ad-1", dedupe_key=KEY)
WITH_DOCIDS = (Site(handle="default", index_key="testkey"),)
URL = "https://a.example/1"
DOCID = md5(b"http://a.example/1").hexdigest()

Feed = Callable[..., int]


@pytest.fixture
def feed(new_store: Callable[..., Any], feed_of: Callable[..., Any]) -> Iterator[Any]:
    with closing(new_store()) as store:
        yield feed_of(store)
        assert store.check() == []


@pytest.fixture
def feed_with_docids(new_store: Callable[..., Any], feed_of: Callable[..., Any]) -> Iterator[Any]:
    with closing(new_store(sites=WITH_DOCIDS)) as store:
        yield feed_of(store)
        assert store.check() == []


def rows(feed: Any, sql: str) -> list[tuple[Any, ...]]:
    with closing(feed.store.reader()) as reader:
        return list(reader._rows(sql))


def counted(feed: Any, view: str = "clicks") -> list[int]:
    """Return whether each event counts, in order of time."""
    return [row[0] for row in rows(feed, f"SELECT counted FROM {view} ORDER BY received_at")]


def totals(feed: Any) -> Any:
    with closing(feed.store.reader()) as reader:
        return reader.totals(ALL_DAYS)


def at(event: Any, *offsets: int) -> list[Any]:
    """Return *event* again and again, so many milliseconds after the first."""
    return [event._replace(received_ms=NOW + offset) for offset in offsets]


# -- repeats -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "window_ms"), [("result", 30 * MINUTE), ("related", 30 * MINUTE), ("ad", HOUR)]
)
def test_what_a_sender_calls_the_same_counts_once_in_its_window(
    kind: str, window_ms: int, feed: Any
) -> None:
    click = CLICK._replace(kind=kind, dedupe_key=KEY)
    feed(*at(click, 0, window_ms - 1, window_ms, 2 * window_ms - 1))
    assert counted(feed) == [1, 0, 1, 0]


@pytest.mark.parametrize(
    "other",
    [CLICK._replace(dedupe_key=OTHER_KEY), CLICK._replace(dedupe_key=KEY, kind="related")],
    ids=["another-key", "another-kind"],
)
def test_other_clicks_are_no_repeats(other: Click, feed: Any) -> None:
    feed(CLICK._replace(dedupe_key=KEY), other)
    assert counted(feed) == [1, 1]


def test_a_key_decides_on_whatever_page_and_result(feed: Any) -> None:
    click = CLICK._replace(dedupe_key=KEY)
    feed(click, click._replace(received_ms=NOW + 1, url="/b", query_id=PAGE))
    assert counted(feed) == [1, 0]


def test_without_a_key_and_a_page_nothing_is_a_repeat(feed: Any) -> None:
    feed(*at(CLICK._replace(visitor=ANNA), 0, 0, 1))
    assert counted(feed) == [1, 1, 1]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))), ids=str)
def test_repeats_are_decided_by_their_time_in_any_order(order: tuple[int, ...], feed: Any) -> None:
    clicks = at(CLICK._replace(dedupe_key=KEY), 0, 20 * MINUTE, 40 * MINUTE, 60 * MINUTE)
    for number in order:
        feed(clicks[number])
    assert counted(feed) == [1, 0, 1, 0]
    with closing(feed.store.reader()) as reader:
        assert reader.ledger()["duplicates"] == 2


def test_a_click_that_turns_out_a_repeat_leaves_its_search(feed: Any) -> None:
    second = SEARCH._replace(received_ms=NOW + HOUR, query_id=new_query_id(NOW + HOUR))
    feed(SEARCH, second, TOLD._replace(received_ms=NOW + HOUR + 1))
    assert totals(feed).searches_clicked == 1
    feed(TOLD._replace(received_ms=NOW + HOUR - 1))
    assert counted(feed) == [1, 0]
    assert rows(feed, "SELECT own_clicks FROM search ORDER BY received_ms") == [(1,), (0,)]


def test_an_ad_that_is_served_again_within_a_minute_is_one_impression(feed: Any) -> None:
    feed(*at(AD, 0, MINUTE - 1, MINUTE))
    assert counted(feed, "impressions") == [1, 0, 1]
    assert totals(feed).impressions == 2
    assert totals(feed).excluded == {"impression.duplicate": 1}


def test_a_late_ad_takes_the_place_of_the_one_that_counted(feed: Any) -> None:
    feed(AD._replace(received_ms=NOW + 30_000, shown=(Shown("/x", 1, "A"), Shown("/y", 2, "A"))))
    feed(AD._replace(shown=(Shown("/z", 3, "A"),)))
    assert counted(feed, "impressions") == [1, 0, 0]
    assert totals(feed).impressions == 1


@pytest.mark.parametrize("kind", ["ad_view", "related"])
def test_other_things_shown_are_kept_however_often_and_not_counted(kind: str, feed: Any) -> None:
    feed(*at(AD._replace(kind=kind), 0, 0))
    assert counted(feed, "impressions") == [1, 1]
    assert totals(feed).impressions == 0


def test_an_order_that_is_reported_again_within_30_days_is_one(feed: Any) -> None:
    order = Conversion(NOW, "default", "A-17", 19.5, dedupe_key=KEY, source="vtexads")
    feed(*reversed(at(order, 0, 30 * DAY_MS - 1, 30 * DAY_MS)))
    assert counted(feed, "conversions") == [1, 0, 1]
    assert totals(feed).excluded == {"conversion.duplicate": 1}


# -- what counts ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "clicks"), [("result", 1), ("ad", 1), ("related", 0), ("source", 0)]
)
def test_results_and_ads_are_the_clicks_of_the_report(kind: str, clicks: int, feed: Any) -> None:
    feed(CLICK._replace(kind=kind))
    with closing(feed.store.reader()) as reader:
        sums = [row.clicks for row in reader.top_queries(ALL_DAYS, 9)]
        places = [row.clicks for row in reader.positions(ALL_DAYS)]
        hosts = reader.daily_clicks(date(2025, 6, 1), date(2025, 6, 30), None, limit=9)[1]
    assert [totals(feed).clicks, sum(sums), sum(places), len(hosts)] == [clicks] * 4


def test_everything_shown_with_an_ad_is_an_impression_at_its_place(feed: Any) -> None:
    shown = (Shown("/a", 1, "ADS"), Shown("/b", 2, "ADS"), Shown("/c", 0, "ADS"))
    feed(AD._replace(shown=shown, query="tax"), CLICK)
    with closing(feed.store.reader()) as reader:
        places = [(row.first, row.impressions) for row in reader.positions(ALL_DAYS)]
        queries = [(row.query, row.impressions) for row in reader.top_queries(ALL_DAYS, 9)]
    assert (totals(feed).impressions, places, queries) == (
        3,
        [(1, 1), (2, 1), (1, 0)],
        [("tax", 3)],
    )


def test_a_click_without_a_query_waits_for_no_search(feed: Any) -> None:
    feed(CLICK._replace(query=""))
    with closing(feed.store.reader()) as reader:
        assert reader.ledger()["unjoined"] == 0
        assert reader.top_queries(ALL_DAYS, 9) == []
    assert rows(feed, "SELECT query, query_id, counted FROM clicks") == [(None, None, 1)]


def test_a_robots_ad_stands_apart_from_those_of_people(feed: Any) -> None:
    feed(AD._replace(robot="bot", drop_reason="robot"))
    with closing(feed.store.reader()) as reader:
        robots = Filter(first_day=ALL_DAYS.first_day, last_day=ALL_DAYS.last_day, robots=True)
        assert reader.totals(robots).impressions == 1
    assert totals(feed).impressions == 0


# -- whose click it is ---------------------------------------------------------------------------

LINK = Click(NOW + MINUTE, "default", URL, 1, "BWEB", PAGE, visitor=ANNA)
REPORTED = LINK._replace(source="searchgov", visitor=BEN, received_ms=NOW + MINUTE + 5)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_our_link_followed_and_reported_is_one_click(order: tuple[int, ...], feed: Any) -> None:
    events: list[Event] = [OUR_PAGE, LINK, REPORTED]
    for number in order:
        feed(events[number])
    assert rows(feed, "SELECT visitor, counted FROM clicks ORDER BY received_ms") == [
        (ANNA, 1),
        (ANNA, 0),
    ]
    assert (totals(feed).clicks, totals(feed).searches_clicked) == (1, 1)


def test_a_page_that_many_share_is_nobodys(feed: Any) -> None:
    feed(OUR_PAGE._replace(shared=1, visitor=""), LINK._replace(visitor=ANNA), REPORTED)
    assert rows(feed, "SELECT visitor, counted FROM clicks ORDER BY received_ms") == [
        (ANNA, 1),
        (BEN, 1),
    ]


def test_a_link_that_names_its_item_is_the_same_result_for_sender_and_redirect(feed: Any) -> None:
    item = {"doc_id": "item-7"}
    feed(OUR_PAGE, LINK._replace(**item), REPORTED._replace(**item))
    assert counted(feed) == [1, 0]
    assert rows(feed, "SELECT DISTINCT url, doc_id FROM clicks") == [(URL, "item-7")]


# -- which search it belongs to ------------------------------------------------------------------


@pytest.mark.parametrize("search_first", [True, False], ids=["search-first", "click-first"])
@pytest.mark.parametrize(
    ("offset", "belongs"),
    [
        pytest.param(-MINUTE - 1, False, id="too-early"),
        pytest.param(-MINUTE, True, id="a-minute-before"),
        pytest.param(0, True, id="at-once"),
        pytest.param(DAY_MS, True, id="a-day-later"),
        pytest.param(DAY_MS + 1, False, id="too-late"),
    ],
)
def test_a_senders_click_belongs_to_the_search_with_its_words(
    offset: int, belongs: bool, search_first: bool, feed: Any
) -> None:
    events = [SEARCH, TOLD._replace(received_ms=NOW + offset)]
    for event in events if search_first else reversed(events):
        feed(event)
    (query_id,) = rows(feed, "SELECT query_id FROM clicks")[0]
    assert (query_id is not None) == belongs
    assert totals(feed).searches_clicked == int(belongs and offset < DAY_MS)


@pytest.mark.parametrize(
    "changes",
    [
        {"source": "searchstax"},
        {"site": "other"},
        {"visitor": BEN},
        {"visitor": ""},
        {"query": "forms"},
        {"query": ""},
    ],
    ids=lambda changes: "-".join(*changes.items()) or "none",
)
def test_a_click_with_other_words_belongs_to_none(changes: dict[str, str], feed: Any) -> None:
    feed(SEARCH, TOLD._replace(received_ms=NOW + 1, **changes))
    assert rows(feed, "SELECT query_id FROM clicks") == [(None,)]
    assert totals(feed).searches_clicked == 0


def test_clicks_of_our_own_links_never_belong_by_their_words(feed: Any) -> None:
    feed(SEARCH._replace(source="redirect"), TOLD._replace(source="redirect"))
    assert rows(feed, "SELECT query_id FROM clicks") == [(None,)]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))), ids=str)
def test_it_is_the_last_search_before_the_click(order: tuple[int, ...], feed: Any) -> None:
    events: list[Event] = [
        SEARCH._replace(received_ms=NOW + offset, query_id=new_query_id(NOW + offset))
        for offset in (0, HOUR, HOUR + 2)
    ]
    for number in order:
        feed([*events, TOLD._replace(received_ms=NOW + HOUR + 1)][number])
    assert rows(feed, "SELECT own_clicks FROM search ORDER BY received_ms") == [(0,), (1,), (0,)]
    assert rows(feed, "SELECT searches.received_ms FROM clicks JOIN searches USING (query_id)") == [
        (NOW + HOUR,)
    ]


def test_a_search_that_arrives_a_day_late_still_gets_its_click(feed: Any) -> None:
    feed(TOLD._replace(received_ms=NOW + DAY_MS - 1))
    feed(SEARCH)
    assert totals(feed).searches_clicked == 1


def test_a_click_on_a_repeated_search_counts_for_the_first(feed: Any) -> None:
    again = SEARCH._replace(received_ms=NOW + MINUTE, query_id=new_query_id(NOW + MINUTE))
    feed(SEARCH, again, TOLD._replace(received_ms=NOW + 2 * MINUTE, position=3))
    assert (totals(feed).searches, totals(feed).searches_clicked) == (1, 1)
    assert totals(feed).search_reciprocal_sum == pytest.approx(1 / 3)


def test_belonging_to_a_search_leaves_the_click_as_it_was_sent(feed: Any) -> None:
    feed(SEARCH._replace(language="de"), TOLD._replace(received_ms=NOW + 1, language="en-us"))
    assert rows(feed, "SELECT query, language, visitor FROM clicks") == [("tax", "en-us", ANNA)]


# -- which result it is --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("click", "kept", "seen"),
    [
        pytest.param(
            CLICK._replace(doc_id="d"), (URL, ""), (URL, "d"), id="url-and-a-name-of-its-own"
        ),
        pytest.param(CLICK, (URL, ""), (URL, ""), id="url-alone"),
        pytest.param(
            CLICK._replace(url="", doc_id="d"), ("", "d"), ("", "d"), id="a-name-of-its-own-alone"
        ),
        pytest.param(
            CLICK._replace(url="", ad_id="ad-1", kind="ad"),
            ("", "ad-1"),
            ("", ""),
            id="an-ad-alone",
        ),
        pytest.param(
            CLICK._replace(source="redirect", doc_id="d"), (URL, "d"), (URL, "d"), id="our-own-link"
        ),
    ],
)
def test_a_senders_result_is_its_url_where_there_is_one(
    click: Click, kept: tuple[str, str], seen: tuple[str, str], feed: Any
) -> None:
    feed(click)
    assert rows(feed, "SELECT url, doc_id FROM result") == [kept]
    assert rows(feed, "SELECT url, doc_id FROM clicks") == [seen]


def test_a_result_without_a_url_is_shown_by_its_name(feed: Any) -> None:
    feed(CLICK._replace(url="", doc_id="doc 7", title="Document 7"))
    with closing(feed.store.reader()) as reader:
        found = [(row.url, row.title) for row in reader.top_results(ALL_DAYS, 9)]
    assert found == [("doc 7", "Document 7")]


def test_the_results_of_a_senders_search_are_those_of_its_clicks(feed: Any) -> None:
    shown = (Shown(URL, 1, "", "d"), Shown("", 2, "", "e"))
    feed(SEARCH._replace(impressions=shown), CLICK._replace(doc_id="d"))
    with closing(feed.store.reader()) as reader:
        found = [(row.url, row.clicks, row.impressions) for row in reader.top_results(ALL_DAYS, 9)]
    assert found == [(URL, 1, 1)]
    assert rows(feed, "SELECT url, doc_id FROM impressions ORDER BY position") == [
        (URL, ""),
        ("", "e"),
    ]


def test_related_suggestions_are_kept_by_their_text(feed: Any) -> None:
    shown = tuple(Shown("", place, "", text, text) for place, text in enumerate(("a", "b"), 1))
    feed(Impression(NOW, "default", "related", shown, "tax", source="searchstax"))
    sql = "SELECT kind, label, position, query, ad_id, counted FROM impressions ORDER BY position"
    assert rows(feed, sql) == [
        ("related", "a", 1, "tax", None, 1),
        ("related", "b", 2, "tax", None, 1),
    ]


def test_an_ad_beside_a_search_of_ours_has_its_query(feed: Any) -> None:
    feed(OUR_PAGE, AD._replace(query_id=PAGE, shown=(Shown("", 1, "ADS", "", "Buy this"),)))
    sql = "SELECT query, ad_id, doc_id, label, module_code FROM impressions WHERE kind <> 'result'"
    assert rows(feed, sql) == [("tax", "ad-1", "ad-1", "Buy this", "ADS")]


# -- results known by the MD5 of their URL -------------------------------------------------------

BY_DOCID = TOLD._replace(url="", doc_id=DOCID)


@pytest.mark.parametrize("order", ["page-first", "click-first", "one-batch"])
def test_a_docid_means_the_url_that_has_it(order: str, feed_with_docids: Any) -> None:
    feed = feed_with_docids
    if order == "one-batch":
        feed(BY_DOCID, OUR_PAGE)
    else:
        for event in (OUR_PAGE, BY_DOCID) if order == "page-first" else (BY_DOCID, OUR_PAGE):
            feed(event)
    assert rows(feed, "SELECT url, doc_id FROM clicks") == [(URL, DOCID)]
    with closing(feed.store.reader()) as reader:
        found = [(row.url, row.clicks, row.impressions) for row in reader.top_results(ALL_DAYS, 9)]
    assert found == [(URL, 1, 1)]
    assert rows(feed, "SELECT advertiser_name FROM daily_clicks") == [("a.example",)]


@pytest.mark.parametrize("form", ["http", "https"])
def test_a_docid_may_be_made_of_either_form_of_the_url(form: str, feed_with_docids: Any) -> None:
    docid = md5(f"{form}://a.example/1".encode()).hexdigest()
    feed_with_docids(OUR_PAGE, BY_DOCID._replace(doc_id=docid))
    assert rows(feed_with_docids, "SELECT url FROM clicks") == [(URL,)]


@pytest.mark.parametrize("https_first", [True, False])
def test_of_both_forms_https_is_meant(https_first: bool, feed_with_docids: Any) -> None:
    urls = ["https://a.example/1", "http://a.example/1"]
    for url in urls if https_first else reversed(urls):
        feed_with_docids(CLICK._replace(url=url), BY_DOCID)
    sql = "SELECT DISTINCT url FROM clicks WHERE doc_id <> ''"
    assert rows(feed_with_docids, sql) == [(URL,)]


def test_a_docid_whose_url_nobody_knows_stands_for_itself(feed_with_docids: Any) -> None:
    feed_with_docids(BY_DOCID)
    assert rows(feed_with_docids, "SELECT url, doc_id FROM clicks") == [("", DOCID)]


def test_urls_that_were_known_before_are_found_too(
    new_store: Callable[..., Any], same_store: Callable[..., Any], feed_of: Callable[..., Any]
) -> None:
    with closing(new_store()) as before:
        feed_of(before)(OUR_PAGE)
        assert rows(feed_of(before), "SELECT count(*) FROM url_digest") == [(0,)]
        after = same_store(before, sites=WITH_DOCIDS)
        with closing(after):
            feed = feed_of(after, "1750000000001-00000000aa")
            feed(BY_DOCID)
            assert rows(feed, "SELECT url FROM clicks") == [(URL,)]
            assert after.check() == []


def test_a_writer_that_knows_no_docids_keeps_them_once_they_are_kept(
    new_store: Callable[..., Any], same_store: Callable[..., Any], feed_of: Callable[..., Any]
) -> None:
    with closing(new_store()) as first:
        feed = feed_of(first)
        feed(CLICK)
        with closing(same_store(first, sites=WITH_DOCIDS)) as second:
            second.migrate()
        feed(OUR_PAGE._replace(impressions=(Shown("https://new.example/", 1, "BWEB"),)))
        feed(BY_DOCID._replace(doc_id=md5(b"https://new.example/").hexdigest()))
        sql = "SELECT url FROM clicks WHERE doc_id <> ''"
        assert rows(feed, sql) == [("https://new.example/",)]
        assert first.check() == []


def test_without_such_a_site_no_digest_is_kept(feed: Any) -> None:
    feed(OUR_PAGE, BY_DOCID)
    assert rows(feed, "SELECT count(*) FROM url_digest") == [(0,)]
    assert rows(feed, "SELECT url, doc_id FROM clicks") == [("", DOCID)]


# -- the rest of the store -----------------------------------------------------------------------


def test_old_things_shown_are_pruned_like_all_rows(feed: Any) -> None:
    feed(AD._replace(shown=(Shown("/a", 1, "A"), Shown("/b", 2, "A"))))
    assert feed.store.prune(NOW + 1, limit=100) == 2
    assert rows(feed, "SELECT count(*) FROM impressions") == [(0,)]
    assert totals(feed).impressions == 2


def test_a_pruned_store_of_senders_is_still_in_order(feed: Any) -> None:
    for hours in range(0, 72, 6):
        query_id = new_query_id(NOW + hours * HOUR)
        feed(SEARCH._replace(received_ms=NOW + hours * HOUR, query_id=query_id))
        feed(*at(TOLD, hours * HOUR + 1, hours * HOUR + 2), *at(AD, hours * HOUR, hours * HOUR + 9))
    assert feed.store.prune(NOW + 36 * HOUR + 2, limit=100) > 0
    assert feed.store.check() == []


def test_the_live_tail_has_one_row_for_each_event(feed: Any) -> None:
    shown = (Shown("", 1, "", "a", "a"), Shown("", 2, "", "b", "b"))
    events = [
        SEARCH,
        CLICK,
        CLICK._replace(kind="ad", url="", ad_id="ad-1"),
        CLICK._replace(kind="related", url="", doc_id="taxes"),
        AD._replace(dedupe_key=""),
        AD._replace(kind="ad_view", dedupe_key=""),
        Impression(NOW, "default", "related", shown, "tax"),
        Conversion(NOW, "default", "A-1", url="/thanks", drop_reason="trust"),
    ]
    feed(*(event._replace(received_ms=NOW + n) for n, event in enumerate(events)))
    with closing(feed.store.reader()) as reader:
        found = [(row.kind, row.url, row.verdict) for row in reversed(reader.live(20))]
    assert found == [
        ("search", None, "counted"),
        ("click", URL, "counted"),
        ("ad_click", "ad-1", "counted"),
        ("related_click", "taxes", "counted"),
        ("ad_impression", "ad-1", "counted"),
        ("ad_view", "ad-1", "counted"),
        ("related_impression", "a", "counted"),
        ("conversion", "/thanks", "trust"),
    ]


DAMAGE = {
    "a-repeat-that-counts": "UPDATE click SET drop_reason = 0",
    "a-repeat-of-nothing": "UPDATE click SET dedupe_key = NULL",
    "an-ad-served-twice": "UPDATE impression SET drop_reason = 0",
    "an-ad-that-is-gone": "DELETE FROM impression WHERE id = 1",
    "an-ad-at-another-place": "UPDATE impression SET position = 7",
    "an-order-that-counts-twice": "UPDATE conversion SET drop_reason = 0",
    "a-click-that-lost-its-search": "UPDATE click SET query_id = NULL WHERE told",
    "a-click-that-forgot-who-told-it": "UPDATE click SET told = 0, query_id = NULL",
    "a-search-that-forgot-who-told-it": "UPDATE search SET told = 0",
    "somebody-elses-click": "UPDATE click SET visitor = event_id WHERE NOT told",
    "another-result": "UPDATE click SET result = result + 1 WHERE by_digest",
    "another-ad": "UPDATE day_host SET ad = ad + 1000",
    "a-host-without-a-number": "DELETE FROM own_advertiser",
    "a-host-with-another-number": "UPDATE own_advertiser SET number = 1",
}


@pytest.mark.parametrize("sql", DAMAGE.values(), ids=DAMAGE.keys())
def test_check_notices(
    sql: str, new_store: Callable[..., Any], feed_of: Callable[..., Any]
) -> None:
    order = Conversion(NOW, "default", "A-17", dedupe_key=KEY)
    with closing(new_store(sites=WITH_DOCIDS)) as store:
        page = OUR_PAGE._replace(query_id=new_query_id(NOW + 1))
        reported = REPORTED._replace(query_id=page.query_id)
        feed_of(store)(
            SEARCH, *at(TOLD, 1, 2), page, reported, *at(AD, 0, 1), *at(order, 0, 1),
            BY_DOCID._replace(dedupe_key=OTHER_KEY, visitor=BEN),
            CLICK._replace(kind="ad", ad_id="ad-1"),
        )  # fmt: skip
        assert store.check() == []
        with store._transaction(False) as connection:
            connection.execute(sql)
        assert store.check() != []


def test_what_is_not_hexadecimal_is_no_key(feed: Any) -> None:
    from clickmw.errors import BadEvent

    with pytest.raises(BadEvent):
        feed(CLICK._replace(dedupe_key="not a key"))


def test_a_view_of_a_shared_page_is_no_search_of_a_sender(feed: Any) -> None:
    view_id = new_query_id(NOW + 1)
    feed(SEARCH._replace(shared=1), View(NOW, "default", PAGE, view_id, ANNA), TOLD)
    assert rows(feed, "SELECT query_id FROM clicks") == [(None,)]
