"""With ``min_visitors`` nothing that is shown names a query that too few visitors searched."""

from __future__ import annotations

import json
import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from click.testing import CliRunner
from webtest import TestApp

from clickmw import ClickMW
from clickmw.catalog import PAGES, PANELS
from clickmw.cli import main
from clickmw.discretion import Discreet, Memory, discreet
from clickmw.events import Click, Event, Feedback, Search, Shown, new_query_id
from clickmw.stores.base import Filter, Reader

#: The tests run on each of these kinds of store.
STORES = ("sqlite", "postgresql")
pytestmark = pytest.mark.sampled(9)

LEAST = 4
KEY = "a key that sees every site"
MINUTE = 60_000
DAY_MS = 24 * 60 * MINUTE
TODAY = datetime.now(UTC).date()
FIRST = TODAY - timedelta(days=9)
#: Two days back from now, at noon: the days of the history lie wholly in the past.
BEGIN_MS = int(datetime(FIRST.year, FIRST.month, FIRST.day, 12, tzinfo=UTC).timestamp() * 1000)
ALL = Filter(first_day=FIRST, last_day=TODAY)
FILTERS: dict[str, dict[str, Any]] = {
    "everything": {},
    "three-days": {"first_day": FIRST + timedelta(days=2), "last_day": FIRST + timedelta(days=4)},
    "site": {"site": "shop"},
    "device": {"device": "mobile"},
    "robots": {"robots": True},
    "module": {"module": "BOOS"},
    "text": {"text": "Common"},
    "text-of-both": {"text": "o"},
}
ENOUGH = 100_000


def history(seed: int = 11) -> Iterator[Event]:
    """Yield a week of searches: common queries, and as many that few or nobody known has searched."""
    chance = random.Random(seed)
    common = [f"common {word}" for word in ("tax", "form", "map", "job", "park")]
    rare = [f"zq{number} mine alone" for number in range(30)]
    for number in range(700):
        query = chance.choice(common) if chance.random() < 0.7 else chance.choice(rare)
        visitor = chance.randbytes(8).hex() if query in common else f"{chance.randrange(3):016x}"
        visitor = "" if chance.random() < 0.1 else visitor
        yield from _search(chance, number, query, visitor)
    for _ in range(80):  # senders of clicks alone: what they say was searched as well
        named = chance.choice(["common by clicks", f"zq{chance.randrange(30, 60)} mine alone"])
        visitor = chance.randbytes(8).hex() if named.startswith("common") else ""
        yield _told(chance, named, visitor)


def _search(chance: random.Random, number: int, query: str, visitor: str) -> Iterator[Event]:
    now = BEGIN_MS + chance.randrange(7 * DAY_MS)
    robot = "curl" if chance.random() < 0.1 else ""
    of: dict[str, Any] = {
        "visitor": visitor,
        "robot": robot,
        "drop_reason": robot and "robot",
        "device": chance.choice(["desktop", "mobile"]),
    }
    url = f"https://example.org/{number % 12}"
    shown = tuple(
        Shown(f"https://example.org/{place}", place, chance.choice(["BWEB", "BOOS"]))
        for place in range(1, 4)
    )
    search = Search(
        now,
        chance.choice(["docs", "shop"]),
        new_query_id(now),
        query,
        shown,
        chance.choice([None, 0, 0, 40]),
        **of,
    )
    yield search
    if chance.random() < 0.5:
        yield Click(
            now + MINUTE,
            search.site,
            url,
            2,
            chance.choice(["BWEB", "BOOS"]),
            search.query_id,
            **of,
        )
    if chance.random() < 0.3:  # another query, right after
        after = chance.choice(["common map", f"zq{100 + number // 3} mine alone"])
        yield Search(now + 2 * MINUTE, search.site, new_query_id(now + 2), after, (), 3, **of)
    if chance.random() < 0.1:
        yield Feedback(now + MINUTE, search.site, 9, query_id=search.query_id, **of)


def _told(chance: random.Random, query: str, visitor: str) -> Click:
    now = BEGIN_MS + chance.randrange(7 * DAY_MS)
    return Click(
        now,
        "docs",
        "https://example.org/1",
        2,
        "BWEB",
        query=query,
        visitor=visitor,
        source="searchgov",
        trust="keyed",
    )


# -- the second computation ------------------------------------------------------------------------


class Truth:
    """The public views, and who searched what by them."""

    def __init__(self, store: Any) -> None:
        with closing(store._read_only()) as connection:
            self.rows = {
                view: _named(connection.execute(f"SELECT * FROM {view}"))
                for view in ("searches", "clicks")
            }

    def common(self, asked: Filter) -> frozenset[str]:
        """Return what enough visitors searched or clicked on."""
        visitors: dict[str, set[str]] = defaultdict(set)
        for row in self.rows["searches"] + self.rows["clicks"]:
            is_there = asked.first_day.isoformat() <= row["day"] <= asked.last_day.isoformat()
            if is_there and row["counted"] and asked.site in (None, row["site"]) and row["visitor"]:
                visitors[row["query"]].add(row["visitor"])
        text = (asked.text or "").casefold()
        return frozenset(q for q, known in visitors.items() if len(known) >= LEAST and text in q)

    def texts(self) -> set[str]:
        return {row["query"] for rows in self.rows.values() for row in rows if row["query"]}


def _named(cursor: Any) -> list[dict[str, Any]]:
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


@pytest.fixture(scope="module")
def store(new_store: Any, feed_of: Any) -> Iterator[Any]:
    """A store that has the history."""
    with closing(new_store()) as made:
        feed_of(made)(*sorted(history(), key=lambda event: event.received_ms))
        assert made.check() == []
        yield made


@pytest.fixture(scope="module")
def truth(store: Any) -> Truth:
    return Truth(store)


@pytest.fixture(scope="module")
def clicks(store: Any, url_of: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickMW]:
    def host(environ: Any, start_response: Any) -> list[bytes]:
        start_response("404 Not Found", [])
        return [b""]

    made = ClickMW(
        host,
        secret="thirty-two characters or more are fine",
        store=url_of(store),
        journal=str(tmp_path_factory.mktemp("journal")),
        sites=[{"handle": "docs"}, {"handle": "shop", "hosts": ["shop.example"]}],
        keys=[{"key": KEY, "scope": "admin"}],
        min_visitors=LEAST,
    )
    yield made
    made.door.worker.close()


@pytest.fixture(scope="module")
def browser(clicks: ClickMW) -> TestApp:
    return TestApp(clicks, extra_environ={"HTTP_X_API_KEY": KEY})


@pytest.fixture
def reader(clicks: ClickMW) -> Iterator[Reader]:
    with closing(clicks.door.routes.open_reader()) as made:
        yield made


@pytest.fixture(params=FILTERS.values(), ids=FILTERS.keys())
def asked(request: pytest.FixtureRequest) -> Filter:
    return replace(ALL, **request.param)


def fields_of(asked: Filter, **more: str) -> str:
    """Return the query string that asks the report for *asked*."""
    given = {"from": asked.first_day.isoformat(), "to": asked.last_day.isoformat()}
    given |= {n: getattr(asked, n) for n in ("site", "device", "module") if getattr(asked, n)}
    given |= {"q": asked.text} if asked.text else {}
    given |= {"robots": "1"} if asked.robots else {}
    return "?" + "&".join(f"{name}={quote(value)}" for name, value in {**given, **more}.items())


# -- which are common ------------------------------------------------------------------------------


def test_the_history_has_both(truth: Truth) -> None:
    common = truth.common(ALL)
    assert common == {text for text in truth.texts() if text.startswith("common")}
    assert len(truth.texts() - common) > 40


def test_common_is_what_enough_visitors_searched_or_clicked_on(
    reader: Reader, truth: Truth, asked: Filter
) -> None:
    assert reader.common_queries(asked, visitors=LEAST) == truth.common(asked)


def test_one_query_is_common_where_the_list_of_all_has_it(
    reader: Reader, truth: Truth, asked: Filter
) -> None:
    texts = frozenset(truth.texts())
    place = replace(asked, text=None)
    found = reader.common_queries(place, visitors=LEAST, among=texts)
    assert found == truth.common(place)


def test_a_visitor_is_another_one_each_day(new_store: Any, feed_of: Any) -> None:
    with closing(new_store()) as store:
        days = [BEGIN_MS + day * DAY_MS for day in range(3)]
        feed_of(store)(
            *(
                Search(now, "default", new_query_id(now), "tax", (), 1, visitor=f"{now:016x}")
                for now in days
            )
        )
        with closing(store.reader()) as reader:
            one_day = replace(ALL, last_day=ALL.first_day)
            assert reader.common_queries(ALL, visitors=3) == {"tax"}
            assert reader.common_queries(one_day, visitors=2) == set()


# -- what is shown ---------------------------------------------------------------------------------

SUBJECTS = {"query": "common tax", "url": "https://example.org/1"}
ADDRESSES = [
    *(name for name in PANELS if name != "ledger"),
    *PAGES,
    "overview",
]


@pytest.mark.parametrize("form", ["", ".json", ".csv"])
@pytest.mark.parametrize("name", ADDRESSES)
def test_no_page_and_no_file_names_a_rare_query(browser: TestApp, name: str, form: str) -> None:
    page = PAGES.get(name) or PANELS.get(name)
    more = {page.needs: SUBJECTS[page.needs]} if page and page.needs else {}
    path = "" if (name, form) == ("overview", "") else name + form
    thresholds = {"visitors": "1", "least_searches": "1", "least_events": "1", "least_now": "1"}
    for each in FILTERS.values():
        question = fields_of(replace(ALL, **each), limit="1000", **more)
        assert "zq" not in browser.get(f"/_clicks/report/{path}{question}").text
        if page and any(threshold.name in thresholds for threshold in _thresholds(page)):
            loose = {t.name: "1" for t in _thresholds(page)}
            assert "zq" not in browser.get(f"/_clicks/report/{path}{question}", loose).text


def _thresholds(page: Any) -> Any:
    from clickmw.catalog import thresholds_of

    return thresholds_of(page)


def test_a_plain_reader_would_have_named_them(store: Any, truth: Truth) -> None:
    with closing(store.reader()) as reader:
        assert any("zq" in row.query for row in reader.top_queries(ALL, ENOUGH))
        assert any("zq" in (row.query or "") for row in reader.live(ENOUGH))
        assert any(
            "zq" in row.next_query
            for row in reader.sessions(ALL, searches=ENOUGH, limit=ENOUGH).chains
        )
        assert any(
            "zq" in (row.query or "") for row in reader.result_queries(ALL, SUBJECTS["url"], ENOUGH)
        )
        assert any(
            "zq" in row.query
            for row in reader.query_neighbours(ALL, "common tax", searches=ENOUGH, limit=ENOUGH)[1]
        )


def test_lists_have_every_common_query(
    reader: Reader, truth: Truth, store: Any, asked: Filter
) -> None:
    with closing(store.reader()) as plain:
        for read in (
            lambda of: of.top_queries(asked, ENOUGH),
            lambda of: of.queries_without_clicks(asked, ENOUGH),
            lambda of: of.queries_without_results(asked, ENOUGH),
            lambda of: of.queries_with_low_ctr(asked, ENOUGH, least=1, below=100),
            lambda of: of.queries_clicked_deep(asked, ENOUGH, least=1, deeper=1),
            lambda of: of.queries_with_few_clicks(asked, ENOUGH, least=1),
        ):
            common = truth.common(asked)
            assert read(reader) == [row for row in read(plain) if row.query in common]


def test_a_short_list_is_as_long_as_it_may_be(reader: Reader, truth: Truth) -> None:
    short = reader.queries_with_few_clicks(ALL, 1, least=1)
    assert len(short) == min(1, len(reader.queries_with_few_clicks(ALL, ENOUGH, least=1)))
    assert len(reader.top_queries(ALL, 3)) == 3


def test_what_is_not_named_is_summed_up_so_that_rows_sum_to_the_totals(
    browser: TestApp, truth: Truth, asked: Filter
) -> None:
    question = fields_of(asked, limit="1000")
    rows = browser.get(f"/_clicks/report/queries.json{question}").json["rows"]
    totals = browser.get(f"/_clicks/report/overview.json{question}").json["metrics"]
    assert sum(row["searches"] for row in rows) == totals["searches"]["value"]
    assert all(row["query"] is None for row in rows if row["unnamed_queries"])
    assert [row["unnamed_queries"] > 0 for row in rows if row["query"] is None] == [
        True for row in rows[-1:] if not asked.text
    ]


@pytest.mark.parametrize("name", [name for name in FILTERS if not name.startswith("text")])
def test_the_row_of_the_rest_says_how_many_there_are(
    reader: Reader, truth: Truth, name: str
) -> None:
    asked = replace(ALL, **FILTERS[name])
    rest = reader.unnamed_queries(asked)
    searches, clicked = (
        _counted(truth.rows["searches"], asked),
        _counted(truth.rows["clicks"], asked),
    )
    clicked = [row for row in clicked if asked.module in (None, row["module_code"])]
    common = truth.common(asked)
    rare = Counter(row["query"] for row in searches if row["query"] not in common)
    rare_clicks = [row for row in clicked if row["query"] and row["query"] not in common]
    assert rest is not None
    assert rest.queries == len({*rare, *(row["query"] for row in rare_clicks)})
    assert (rest.sums.searches, rest.sums.clicks) == (rare.total(), len(rare_clicks))
    places = [row["position"] for row in rare_clicks if row["position"]]
    assert rest.sums.position_mean == pytest.approx(sum(places) / len(places) if places else None)


def _counted(rows: list[dict[str, Any]], asked: Filter) -> list[dict[str, Any]]:
    return [
        row
        for row in rows
        if (row["drop_reason"] == "robot" if asked.robots else row["counted"])
        and asked.first_day.isoformat() <= row["day"] <= asked.last_day.isoformat()
        and asked.site in (None, row["site"])
        and asked.device in (None, row["device"])
    ]


def test_the_queries_that_lead_to_a_result_sum_to_its_clicks(browser: TestApp) -> None:
    question = fields_of(ALL, url=SUBJECTS["url"], limit="1000")
    rows = browser.get(f"/_clicks/report/result-queries.json{question}").json["rows"]
    days = browser.get(f"/_clicks/report/result-days.json{question}").json["rows"]
    assert sum(row["clicks"] for row in rows) == sum(row["clicks"] or 0 for row in days)
    assert rows[-1]["query"] is None
    assert rows[-1]["unnamed_queries"] > 0


def test_a_rare_query_is_like_one_that_nobody_asked(browser: TestApp) -> None:
    path = "/_clicks/report/query"
    for form in ("", ".json", ".csv"):
        asked, never = "zq1 mine alone", "zq0 mein allein"
        rare = browser.get(f"{path}{form}{fields_of(ALL, query=asked)}").text
        unknown = browser.get(f"{path}{form}{fields_of(ALL, query=never)}").text
        for text, other in ((asked, never), (quote(asked), quote(never))):
            rare, unknown = rare.replace(text, "…"), unknown.replace(other, "…")
        plus = (asked.replace(" ", "+"), never.replace(" ", "+"))
        assert _timeless(rare.replace(plus[0], "…")) == _timeless(unknown.replace(plus[1], "…"))


def _timeless(text: str) -> str:
    return re.sub(r"\d+ (s|seconds|min|minutes)\b", "", text)


def test_a_text_finds_no_rare_query(browser: TestApp) -> None:
    question = fields_of(replace(ALL, text="zq1"))
    metrics = browser.get(f"/_clicks/report/overview.json{question}").json["metrics"]
    assert (metrics["searches"]["value"], metrics["clicks"]["value"]) == (0, 0)
    sessions = browser.get(f"/_clicks/report/sessions.json{question}").json["facts"]
    assert sessions["searches"] == 0


def test_every_page_says_that_some_are_not_named(browser: TestApp) -> None:
    said = f"Queries that fewer than {LEAST} visitors searched in these days are counted"
    for name in ("", "queries", "to-fix", "sessions", "live"):
        assert said in browser.get(f"/_clicks/report/{name}").text
    assert said in " ".join(browser.get("/_clicks/report/queries.json").json["notes"])
    kept = browser.get("/_clicks/report/definitions").text
    assert "Rare queries" in kept
    assert "another one each day" in kept


def test_the_page_has_a_row_for_the_rest_and_no_bar_of_it(browser: TestApp) -> None:
    found = browser.get("/_clicks/report/queries").html.select("table.rows-queries tbody tr")
    assert re.fullmatch(r"\d+ rarer queries", found[-1].th.get_text(strip=True))
    assert found[-1].rect["width"] == "0.0%"


def test_an_agent_is_told_what_is_not_named(browser: TestApp, truth: Truth) -> None:
    def ask(tool: str, **arguments: Any) -> dict[str, Any]:
        call = {"name": tool, "arguments": arguments}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
        text = browser.post_json("/_clicks/mcp", message).text
        assert "zq" not in text.replace(str(arguments.get("query")), "")
        return json.loads(text)["result"]["structuredContent"]

    for tool in ("top_queries", "queries_without_clicks", "queries_without_results"):
        answer = ask(tool, days=28, limit=200)
    top = ask("top_queries", days=28, limit=200)
    named = sum(row["searches"] for row in top["rows"])
    assert named + top["unnamed"]["searches"] == top["totals"]["searches"]
    assert ask("explain_query", query="zq1 mine alone", days=28)["numbers"] is None
    assert ask("explain_query", query="common tax", days=28)["numbers"]["searches"] > 0
    assert answer["unnamed"]["queries"] == top["unnamed"]["queries"]


def test_the_terminal_names_none_either(store: Any, url_of: Any, tmp_path: Path) -> None:
    settings = {
        "CLICKMW_SECRET": "thirty-two characters or more are fine",
        "CLICKMW_MIN_VISITORS": str(LEAST),
        "CLICKMW_JOURNAL": str(tmp_path),
    }
    for more in ([], ["--json"]):
        result = CliRunner().invoke(
            main,
            ["--store", url_of(store), "report", "--days", "28", "--top", "200", *more],
            env=settings,
        )
        assert result.exit_code == 0, result.output
        assert "zq" not in result.output
        assert "common tax" in result.output
    assert "visitors searched in these days are counted, and named nowhere" in result.output


# -- the gate --------------------------------------------------------------------------------------


def test_nothing_stands_between_without_the_setting(store: Any) -> None:
    with closing(store.reader()) as reader:
        assert discreet(reader, 0, Memory()) is reader
        assert reader.unnamed_queries(ALL) is None


class Counting:
    """A reader that knows what is common and how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.common = frozenset({"tax"})

    def common_queries(self, _asked: Filter, **_more: Any) -> frozenset[str]:
        self.asked += 1
        return self.common

    def top_queries(self, asked: Filter, _limit: int) -> Any:
        return asked.named


def test_what_is_common_is_found_out_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    plain: Any = Counting()
    memory, now = Memory(), time.monotonic()
    assert [discreet(plain, 2, memory).top_queries(ALL, 9) for _ in range(3)] == [{"tax"}] * 3
    assert plain.asked == 1
    plain.common = frozenset({"tax", "form"})
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)
    assert discreet(plain, 2, memory).top_queries(ALL, 9) == {"tax", "form"}


def test_the_memory_has_an_end() -> None:
    memory = Memory()
    for day in range(1, 200):
        memory.keep(replace(ALL, first_day=FIRST - timedelta(days=day)), frozenset())
    assert len(memory._known) <= 32


def test_each_question_of_a_reader_has_its_own_answer_here() -> None:
    """A question that is new has to be thought about: nothing is handed on unseen."""
    questions = {name for name in vars(Reader) if not name.startswith("_")}
    assert questions <= vars(Discreet).keys()
    assert not hasattr(Discreet, "__getattr__")


def test_days_without_events_name_nothing(reader: Reader) -> None:
    before = Filter(first_day=date(2020, 1, 1), last_day=date(2020, 1, 9))
    assert reader.top_queries(before, 10) == []
    rest = reader.unnamed_queries(before)
    assert rest is not None
    assert rest.queries == 0
