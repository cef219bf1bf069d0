"""What a search owner can mend: each rule on searches and clicks in a real store."""

from __future__ import annotations

import csv
import io
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import count
from typing import Any, NamedTuple

import pytest
from bs4 import BeautifulSoup, Tag
from webtest import TestApp

from clickmw.catalog import PANELS, thresholds_of
from clickmw.errors import BadFilter
from clickmw.events import Click, Event, Search, Shown
from clickmw.panels import Look, Panel, Row
from clickmw.problems import PROBLEMS, TO_FIX
from clickmw.stores.base import Filter, Reader
from clickmw.stores.sqlite import SQLiteStore

#: The tests run on each of these kinds of store.
STORES = ("sqlite", "postgresql")

TODAY = datetime.now(UTC).date()
NOW = (TODAY - timedelta(days=27), TODAY)
BEFORE = (TODAY - timedelta(days=55), TODAY - timedelta(days=28))
NUMBERS = count(1)


class Asked(NamedTuple):
    """So many searches of one query, of which the first few were clicked."""

    query: str
    searches: int
    clicked: int = 0
    clicks_each: int = 1
    position: int = 1
    hits: int = 10
    day: date = TODAY - timedelta(days=3)


def events_of(asked: Asked) -> Iterator[Event]:
    """Yield the searches, each of a visitor of its own, and their clicks."""
    for number in range(asked.searches):
        serial = next(NUMBERS)
        at_noon = datetime.combine(asked.day, time(12), UTC)
        now = int(at_noon.timestamp() * 1000) + serial
        query_id = urlsafe_b64encode(now.to_bytes(6) + serial.to_bytes(6)).decode()
        who: dict[str, Any] = {"site": "default", "visitor": f"{serial:016x}", "device": "desktop"}
        shown = [
            Shown(f"https://example.org/{asked.query.replace(' ', '-')}/{at}", at, "BWEB")
            for at in range(1, min(asked.hits, 10) + 1)
        ]
        yield Search(
            now,
            query_id=query_id,
            query=asked.query,
            impressions=tuple(shown),
            total_hits=asked.hits,
            **who,
        )
        if number < asked.clicked:
            for more in range(asked.clicks_each):
                place = shown[asked.position - 1 + more]
                yield Click(now + 1, url=place.url, position=place.position, query_id=query_id,
                            module_code="BWEB", **who)  # fmt: skip


#: 100 searches that found something and 60 of them with a click, before any other query.
ORDINARY = Asked("ordinary", 100, clicked=60)

Filled = Callable[..., Reader]


@pytest.fixture
def filled(new_store: Callable[..., SQLiteStore], feed_of: Callable[..., Any]) -> Iterator[Filled]:
    """Make a reader of a store in which these queries were asked."""
    stores, readers = [], []

    def make(*asked: Asked) -> Reader:
        stores.append(new_store())
        feed_of(stores[-1])(*(event for each in asked for event in events_of(each)))
        readers.append(stores[-1].reader())
        return readers[-1]

    yield make
    for each in (*readers, *stores):
        each.close()


def look(reader: Reader, limit: int = 100, **given: str) -> Look:
    now = Filter(first_day=NOW[0], last_day=NOW[1])
    before = Filter(first_day=BEFORE[0], last_day=BEFORE[1])
    return Look(reader, now, limit, {}, TODAY, before, given=given)


def rows(name: str, reader: Reader, limit: int = 100, **given: str) -> list[Row]:
    return PANELS[name].rows(look(reader, limit, **given))


def queries(found: Sequence[Row]) -> list[str]:
    return [row["query"] for row in found]


# Search.gov's rule


@pytest.mark.parametrize(
    ("asked", "listed"),
    [
        (Asked("a", 17, clicked=3), True),
        (Asked("a", 16, clicked=3), False),
        (Asked("a", 20, clicked=4), False),
        (Asked("a", 20), True),
        (Asked("a", 20, clicked=3, clicks_each=2), False),
        (Asked("a", 20, hits=0), True),
    ],
    ids=[
        "20 events, 17 for 100",
        "19 events",
        "20 for 100",
        "no click at all",
        "15 of 100 clicked, 30 clicks for 100",
        "found nothing",
    ],
)
def test_low_ctr_is_searchgovs_rule(filled: Filled, asked: Asked, listed: bool) -> None:
    assert bool(rows("low-ctr", filled(asked))) is listed


def test_low_ctr_begins_with_the_lowest_and_the_most_searched(filled: Filled) -> None:
    reader = filled(
        Asked("ten", 30, clicked=3), Asked("zero", 20), Asked("zero often", 40), ORDINARY
    )
    found = rows("low-ctr", reader)
    assert queries(found) == ["zero often", "zero", "ten"]
    assert [row["clicks_for_100"] for row in found] == [0, 0, 10]


def test_low_ctr_finds_the_rarest_query_that_the_rule_takes(filled: Filled) -> None:
    many = [Asked(f"often {number}", 21, clicked=21) for number in range(40)]
    assert queries(rows("low-ctr", filled(*many, Asked("rare", 20)), limit=1)) == ["rare"]


def test_the_thresholds_of_low_ctr_are_in_the_url(filled: Filled) -> None:
    reader = filled(Asked("few", 8, clicked=1), Asked("half", 40, clicked=20))
    assert queries(rows("low-ctr", reader, least_events="9")) == ["few"]
    assert queries(rows("low-ctr", reader, below_percent="51")) == ["half"]


# Clicked less than others


def test_a_query_misses_the_clicks_that_it_would_have_with_the_share_of_all(filled: Filled) -> None:
    found = rows("missed-clicks", filled(ORDINARY, Asked("dull", 50, clicked=5)))
    assert queries(found) == ["dull"]
    assert found[0]["missed"] == pytest.approx(50 * 65 / 150 - 5)
    assert found[0]["all_found_ctr"][:2] == (65, 150)


def test_only_queries_below_the_others_beyond_chance_are_listed(filled: Filled) -> None:
    reader = filled(
        ORDINARY, Asked("perhaps", 30, clicked=12), Asked("surely", 30, clicked=3), Asked("rare", 2)
    )
    found = rows("missed-clicks", reader, least_searches="1")
    assert queries(found) == ["surely"]
    assert found[0]["found_ctr"].high < found[0]["all_found_ctr"].value


def test_searches_that_found_nothing_miss_no_click(filled: Filled) -> None:
    reader = filled(ORDINARY, Asked("nothing", 80, hits=0))
    assert rows("missed-clicks", reader) == []


def test_the_query_that_misses_most_comes_first(filled: Filled) -> None:
    reader = filled(ORDINARY, Asked("small", 25), Asked("large", 60, clicked=3))
    found = rows("missed-clicks", reader)
    assert queries(found) == ["large", "small"]
    assert queries(rows("missed-clicks", reader, limit=1)) == ["large"]
    assert queries(rows("missed-clicks", reader, least_searches="26")) == ["large"]


# Far down, never, nothing


def test_queries_clicked_far_down_are_listed_deepest_first(filled: Filled) -> None:
    reader = filled(
        Asked("top", 20, clicked=15, position=1),
        Asked("fifth", 20, clicked=15, position=5),
        Asked("ninth", 20, clicked=15, position=9),
        Asked("rare", 20, clicked=2, position=10),
    )
    assert queries(rows("deep-clicks", reader)) == ["ninth", "fifth"]
    assert queries(rows("deep-clicks", reader, deeper_than="6")) == ["ninth"]
    assert queries(rows("deep-clicks", reader, least_clicks="2", deeper_than="10")) == ["rare"]


def test_results_shown_often_and_never_clicked_are_listed(filled: Filled) -> None:
    reader = filled(Asked("a", 120, clicked=1, hits=2), Asked("b", 99, hits=1))
    assert rows("never-clicked", reader) == [
        {"url": "https://example.org/a/2", "title": None, "impressions": 120}
    ]
    assert len(rows("never-clicked", reader, least_impressions="99")) == 2


def test_queries_without_clicks_and_without_results_are_two_lists(filled: Filled) -> None:
    reader = filled(ORDINARY, Asked("ignored", 7), Asked("empty", 5, hits=0))
    assert queries(rows("unclicked", reader)) == ["ignored"]
    assert queries(rows("empty", reader)) == ["empty"]


# Trends


def before(asked: Asked) -> Asked:
    return asked._replace(day=BEFORE[1])


#: Something on the first day of the period before: recording had begun.
BEGUN = Asked("begun", 1, day=BEFORE[0])


def test_what_grew_beyond_chance_is_trending(filled: Filled) -> None:
    reader = filled(
        BEGUN,
        before(Asked("up", 10)),
        Asked("up", 40),
        before(Asked("same", 28)),
        Asked("same", 32),
    )
    found = rows("trending-queries", reader)
    assert queries(found) == ["up"]
    growth = found[0]["growth"]
    assert growth[:3] == (40, 10, 4.0)
    assert 1 < growth.low < 4 < growth.high


def test_what_is_new_has_a_least_growth_and_no_value(filled: Filled) -> None:
    reader = filled(BEGUN, Asked("new", 30, clicked=20))
    growth = rows("trending-queries", reader)[0]["growth"]
    assert (growth.value, growth.high) == (None, None)
    assert growth.low > 1
    assert [row["now"] for row in rows("trending-results", reader)] == [20]


def test_few_searches_are_no_trend(filled: Filled) -> None:
    reader = filled(BEGUN, Asked("new", 9))
    assert rows("trending-queries", reader) == []
    assert queries(rows("trending-queries", reader, least_now="9")) == ["new"]


def test_without_a_full_period_before_nothing_is_a_trend(filled: Filled) -> None:
    assert rows("trending-queries", filled(Asked("new", 30))) == []


# Thresholds


@pytest.mark.parametrize("value", ["0", "-1", "1e3", "1000001", "x"])
def test_a_threshold_that_makes_no_sense_is_refused(filled: Filled, value: str) -> None:
    with pytest.raises(BadFilter):
        rows("low-ctr", filled(), least_events=value)


def test_every_threshold_decides_something_on_the_page() -> None:
    used = {each for panel in PROBLEMS for each in panel.thresholds}
    assert {each.name for each in used} == {each.name for each in thresholds_of(TO_FIX)}
    assert len({each.name for each in used}) == len(used)


# The page and its files


@pytest.fixture
def site(
    clicks_at: Callable[..., Any], browser_of: Callable[..., TestApp], feed_of: Callable[..., Any]
) -> TestApp:
    """A site whose report everybody may see, with something wrong of each kind."""
    clicks = clicks_at(report_auth=lambda _environ: True)
    wrong = [
        BEGUN,
        ORDINARY,
        before(ORDINARY),
        Asked("dull <b>", 120, clicked=3, hits=2),
        Asked("deep", 30, clicked=25, position=8),
        Asked("nothing", 9, hits=0),
        Asked("ignored", 7),
    ]
    clicks.door.store.migrate()
    feed_of(clicks.door.store)(*(event for each in wrong for event in events_of(each)))
    return browser_of(clicks)


def table(page: TestApp, panel: Panel) -> Tag:
    soup = BeautifulSoup(page.text, "html.parser")
    return next(each for each in soup.select(f"table.rows-{panel.name}"))


@pytest.mark.parametrize("panel", PROBLEMS, ids=[panel.name for panel in PROBLEMS])
def test_the_page_of_a_problem_and_its_files_say_the_same(site: TestApp, panel: Panel) -> None:
    path = f"/_clicks/report/{panel.name}"
    told = site.get(f"{path}.json").json["rows"]
    assert told
    records = list(csv.DictReader(io.StringIO(site.get(f"{path}.csv").text)))
    first = panel.columns[0].key
    cells = table(site.get(path), panel).select("tbody th .text")
    shown = [cell.get_text(strip=True) for cell in cells]
    assert [row[first].removeprefix("https://") for row in told] == [
        each.removeprefix("https://") for each in shown
    ]
    assert [record[first] for record in records] == [row[first] for row in told]
    for column in panel.columns:
        if column.kind == "count":
            assert [record[column.key] for record in records] == [
                "" if row[column.key] is None else str(row[column.key]) for row in told
            ]


def test_growth_takes_three_columns_of_the_file_and_is_a_measure_in_json(site: TestApp) -> None:
    growth = site.get("/_clicks/report/trending-queries.json").json["rows"][0]["growth"]
    record = next(
        csv.DictReader(io.StringIO(site.get("/_clicks/report/trending-queries.csv").text))
    )
    assert growth.keys() == {"numerator", "denominator", "value", "low", "high"}
    assert float(record["growth_low"]) == growth["low"]
    assert (record["growth"], record["growth_high"]) == ("", "")


def test_the_page_to_fix_has_every_list_with_its_thresholds(site: TestApp) -> None:
    soup = BeautifulSoup(site.get("/_clicks/report/to-fix").text, "html.parser")
    for panel in PROBLEMS:
        card = soup.select_one(f".card-{panel.name}")
        assert card is not None
        fields = card.select("form.thresholds input[type=number]")
        assert [field["name"] for field in fields] == [each.name for each in panel.thresholds]


def test_a_threshold_of_the_page_reaches_its_list_and_the_others_stay(site: TestApp) -> None:
    page = site.get("/_clicks/report/to-fix?least_now=5&least_searches=121")
    facts = site.get("/_clicks/report/to-fix.json?least_now=5&least_searches=121").json
    assert facts["missed-clicks"] == []
    assert facts["facts"]["thresholds"]["least_now"] == 5
    soup = BeautifulSoup(page.text, "html.parser")
    kept = soup.select(".card-missed-clicks form.thresholds input[type=hidden][name=least_now]")
    assert [field["value"] for field in kept] == ["5"]


def test_without_events_nothing_is_praised(
    clicks_at: Callable[..., Any], browser_of: Callable[..., TestApp]
) -> None:
    clicks = clicks_at(report_auth=lambda _environ: True)
    clicks.door.store.migrate()
    page = browser_of(clicks).get("/_clicks/report/to-fix")
    assert "Every result" not in page.text
    assert page.html.select_one("h1").get_text() == "No events yet"
