"""The page of one query, over a real store with a small history whose every number is known."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from bs4 import BeautifulSoup

from clickmw.events import Click, Event, Return, Search, Seen, Shown, new_query_id
from clickmw.expectation import over_expected
from clickmw.queries import normal_query
from clickmw.rates import rate

DAY_MS = 86_400_000
MINUTE_MS = 60_000
#: Midnight of 1 June 2025.
BEGIN_MS = 1_748_736_000_000
JUNE = {"from": "2025-06-01", "to": "2025-06-30"}
PANELS = ("query-days", "query-places", "query-before", "query-after", "query-empty")

Report = Callable[..., Any]


class Visits:
    """Events of visitors: each page shows three results, and one of a list of its own."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.visitors = 0

    def visitor(self) -> str:
        self.visitors += 1
        return f"{self.visitors:016x}"

    def search(
        self, query: str, day: int, *positions: int, visitor: str = "", **more: Any
    ) -> Search:
        """Search on a day of June, and follow the results at *positions* of the first list."""
        now = (
            BEGIN_MS + (day - 1) * DAY_MS + 12 * 60 * MINUTE_MS + more.pop("minute", 0) * MINUTE_MS
        )
        hits = more.pop("hits", 3)
        shown = (
            *(Shown(f"https://example.org/{n}", n, "BWEB", title=f"Page {n}") for n in (1, 2, 3)),
            Shown("https://example.org/best", 1, "BOOS"),
        )
        page = Search(now, "default", new_query_id(now), query, shown if hits else (), hits)
        page = page._replace(visitor=visitor or self.visitor(), **more)
        self.events.append(page)
        for position in positions:
            self.click(page, position)
        return page

    def click(self, page: Search, position: int, dwell_s: float | None = None) -> None:
        shown = page.impressions[position - 1]
        at = page.received_ms + 10_000
        self.events.append(
            Click(at, "default", shown.url, position, "BWEB", page.query_id, title=shown.title,
                  visitor=page.visitor, device=page.device)
        )  # fmt: skip
        if dwell_s is not None:
            back = at + round(1_000 * dwell_s)
            self.events.append(
                Return(back, "default", page.query_id, "", shown.url, "", position, "BWEB",
                       dwell_s, page.visitor)
            )  # fmt: skip


#: Of the hundred pages of the history position 1 was clicked on 40, 2 on 20 and 3 on 30; on so few
#: impressions the last two are taken together.
EARNED = {("BWEB", 1): 0.4, ("BWEB", 2): 0.25, ("BWEB", 3): 0.25, ("BOOS", 1): 0.0}


@pytest.fixture
def history() -> Visits:
    """Forty searches for "parking" (30 clicked at position 3), sixty for "museum" as one expects."""
    visits = Visits()
    for number in range(40):
        visits.search("parking", 1 + number % 20, *((3,) if number < 30 else ()))
    for number in range(60):
        visits.search("museum", 1 + number % 20, 1 if number < 40 else 2)
    return visits


@pytest.fixture
def asked(history: Visits, report_of: Callable[..., Report]) -> Report:
    """The report of June."""
    report = report_of(*history.events)
    return lambda path, **arguments: report(path, **{**JUNE, **arguments})


def soup(answer: Any) -> BeautifulSoup:
    return BeautifulSoup(answer.text, "html.parser")


def words(element: Any) -> str:
    return " ".join(element.get_text(" ").split())


def facts(report: Report, query: str = "parking", **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = report("query.json", query=query, **more).json["facts"]
    return found


def numbers(report: Report, **more: Any) -> dict[str, Any]:
    found = facts(report, **more)["headlines"]
    return {each["name"]: each["measure"]["value"] for each in found}


def rows(report: Report, panel: str, **more: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = report(f"{panel}.json", **{"query": "parking", **more}).json[
        "rows"
    ]
    return found


# -- its head ----------------------------------------------------------------------------------------


def test_the_head_has_the_numbers_of_the_query_alone(asked: Report) -> None:
    assert numbers(asked) == {
        "searches": 40,
        "search_ctr": 0.75,
        "clicks": 30,
        "no_result_rate": 0.0,
        "average_position": 3.0,
        "dwell_median": None,
        "dwell_short": None,
        "dwell_long": None,
    }


def test_the_page_shows_what_its_json_says(asked: Report) -> None:
    page = soup(asked("query", query="parking"))
    shown = {words(each.summary): words(each.select_one(".big")) for each in page.select(".figure")}
    assert shown == {
        "Searches": "40",
        "Search CTR": "75.0%",
        "Clicks": "30",
        "No-result rate": "0.0%",
        "Average click position": "3.0",
        "Time on results": "–",
        "Short visits": "–",
        "Long visits": "–",
    }
    assert "30 / 40 95%: 59.8–85.8%" in words(page.select_one(".figures"))


def test_every_number_of_the_head_is_defined(asked: Report) -> None:
    for each in facts(asked)["headlines"]:
        assert each["definition"].endswith(".")
        assert each["formula"]
    known = {row["metric"] for row in asked("definitions.json").json["definitions"]}
    assert {each["name"] for each in facts(asked)["headlines"]} <= known


def test_the_length_of_visits_has_its_known_short_long_and_middle_one(
    history: Visits, report_of: Callable[..., Report]
) -> None:
    for dwell_s in (2.0, 4.0, 25.0, 60.0):
        history.click(history.search("parking", 5), 1, dwell_s)
    report = report_of(*history.events)
    found = facts(report, **JUNE)
    assert found["dwell"] == {"known": 4, "short": 2, "long": 1, "unknown": 30, "median_s": 14.5}
    assert "known time on the result: 4, shorter than 10 seconds 2" in words(
        soup(report("query", query="parking", **JUNE)).select_one(".diagnosis")
    )


def test_the_diagnosis_stands_on_the_page_with_its_evidence(asked: Report) -> None:
    finding = soup(asked("query", query="parking")).select_one(".finding-wrong_top")
    ratio = over_expected(30, 40 * EARNED["BWEB", 3])
    assert words(finding.p) == (
        f"People skip position 1 and take 3: {ratio.value:.1f} times the expected clicks "
        f"[{ratio.low:.1f}–{ratio.high:.1f}]."
    )
    assert [words(each) for each in finding.select(".evidence dt")] == [
        "Position 3 of BWEB, “\u2068Page 3\u2069”",
        "Position 1 of BWEB, “\u2068Page 1\u2069”",
    ]


def test_few_searches_are_not_enough_data(history: Visits, report_of: Any) -> None:
    history.search("rare", 3)
    sentence = facts(report_of(*history.events), query="rare", **JUNE)["diagnosis"]["sentence"]
    assert sentence.startswith("Not enough data. Searches in this period: 1;")


# -- its panels --------------------------------------------------------------------------------------


def test_its_days_are_all_days_and_add_up(asked: Report) -> None:
    days = rows(asked, "query-days")
    assert [row["day"] for row in days[:2]] == ["2025-06-01", "2025-06-02"]
    assert len(days) == 30
    assert [sum(row[key] for row in days) for key in ("searches", "clicks", "impressions")] == [
        40,
        30,
        160,
    ]


def test_its_history_is_drawn(asked: Report) -> None:
    for path in ("query", "query-days"):
        chart = soup(asked(path, query="parking")).select_one(".chart.days")
        assert len(chart.select(".column")) == 30
        assert chart.find("title").string == "Searches and clicks by day"


def test_places_compare_clicks_with_what_their_positions_earn(asked: Report) -> None:
    for row in rows(asked, "query-places"):
        expected = 40 * EARNED[row["module_code"], row["position"]]
        assert row["expected_clicks"] == pytest.approx(expected)
        assert row["item_ctr"]["value"] == rate(row["clicks"], 40).value
        ratio = over_expected(row["clicks"], row["expected_clicks"])
        assert row["coec"] == {**ratio._asdict(), "denominator": row["expected_clicks"]}


def test_what_was_seen_is_unknown_without_the_snippet(asked: Report) -> None:
    assert {row["seen"] for row in rows(asked, "query-places")} == {None}


def test_what_was_seen_is_counted_with_the_snippet(history: Visits, report_of: Any) -> None:
    page = history.search("parking", 9)
    seen = (("BWEB", 1), ("BOOS", 1))
    history.events.append(
        Seen(page.received_ms + 2_000, "default", page.query_id, "", seen, page.visitor)
    )
    found = rows(report_of(*history.events), "query-places", **JUNE)
    assert {(row["module_code"], row["position"]): row["seen"] for row in found} == {
        ("BWEB", 1): 1,
        ("BWEB", 2): 0,
        ("BWEB", 3): 0,
        ("BOOS", 1): 1,
    }


@pytest.fixture
def refined(history: Visits, report_of: Callable[..., Report]) -> Report:
    """Two visitors go on from "parking" to "car park", one comes from "tickets"."""
    for _ in range(2):
        somebody = history.visitor()
        history.search("parking", 4, visitor=somebody)
        history.search("car park", 4, 1, visitor=somebody, minute=2)
    somebody = history.visitor()
    history.search("tickets", 6, visitor=somebody)
    history.search("parking", 6, visitor=somebody, minute=4)
    report = report_of(*history.events)
    return lambda path, **arguments: report(path, **{**JUNE, **arguments})


def test_queries_after_are_those_of_two_visitors_and_more(refined: Report) -> None:
    (row,) = rows(refined, "query-after")
    assert (row["query"], row["change"], row["searches"], row["visitors"]) == (
        "car park",
        "other words",
        2,
        2,
    )
    assert row["search_ctr"]["value"] == 1.0


def test_the_number_of_visitors_is_in_the_address(refined: Report) -> None:
    assert rows(refined, "query-before") == []
    assert [row["query"] for row in rows(refined, "query-before", visitors=1)] == ["tickets"]


def test_times_without_results_have_their_first_and_last_day(
    history: Visits, report_of: Any
) -> None:
    for day in (21, 21, 23, 27):
        history.search("parking", day, hits=0)
    history.search("parking", 25)
    found = rows(report_of(*history.events), "query-empty", **JUNE)
    keys = ("first_day", "last_day", "searches_empty", "searches_known", "state")
    assert [tuple(row[key] for key in keys) for row in found] == [
        ("2025-06-27", "2025-06-27", 1, 1, "not over"),
        ("2025-06-21", "2025-06-23", 3, 3, "over"),
    ]


@pytest.mark.parametrize("panel", PANELS)
def test_page_json_and_csv_of_a_panel_have_the_same_rows(panel: str, refined: Report) -> None:
    given = (
        {"query": "parking", "visitors": 1}
        if panel[6:] in {"before", "after"}
        else {"query": "parking"}
    )
    found = rows(refined, panel, **given)
    records = list(csv.DictReader(io.StringIO(refined(f"{panel}.csv", **given).text)))
    lines = soup(refined(panel, **given)).select("tbody tr")
    assert len(found) == len(records) == len(lines)
    for row, record, line in zip(found, records, lines, strict=True):
        counts = {key: value for key, value in row.items() if type(value) is int}
        assert {key: int(record[key]) for key in counts} == counts
        shown = [words(cell) for cell in line.select("td.count")]
        assert set(shown) <= {*map(str, counts.values()), "–"}


def test_the_page_bundles_its_panels(refined: Report) -> None:
    bundle = refined("query.json", query="parking").json
    assert bundle["query-days"] == rows(refined, "query-days")
    assert set(PANELS) <= bundle.keys()
    headings = {each["id"] for each in soup(refined("query", query="parking")).select("h2[id]")}
    assert {f"h-{name}" for name in PANELS} <= headings


def test_each_of_its_panels_keeps_the_query(refined: Report) -> None:
    page = soup(refined("query", query="parking"))
    for link in page.select(".card > header a"):
        assert "query=parking" in link["href"]


# -- filters -----------------------------------------------------------------------------------------


@pytest.fixture
def mobile(history: Visits, report_of: Callable[..., Report]) -> Report:
    for number in range(5):
        history.search("parking", 2, *((1,) if number else ()), device="mobile")
    report = report_of(*history.events)
    return lambda path, **arguments: report(path, **{**JUNE, "device": "mobile", **arguments})


def test_a_filter_holds_for_every_number(mobile: Report) -> None:
    found = numbers(mobile)
    assert (found["searches"], found["clicks"], found["search_ctr"]) == (5, 4, 0.8)
    assert {row["impressions"] for row in rows(mobile, "query-places")} == {5}


def test_what_is_not_kept_under_a_filter_is_a_dash_and_says_so(mobile: Report) -> None:
    assert numbers(mobile)["average_position"] is None
    page = soup(mobile("query", query="parking"))
    assert "not kept under these filters" in words(page)
    assert {row["impressions"] for row in rows(mobile, "query-days")} == {None}


def test_a_text_filter_that_the_query_lacks_leaves_nothing(asked: Report) -> None:
    assert facts(asked, q="museum") == {"query": "parking", "known": False}
    assert facts(asked, q="PARK")["known"]


# -- strangers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["", ".json", ".csv"])
def test_of_an_unknown_query_nothing_is_known_and_that_is_no_error(
    form: str, asked: Report
) -> None:
    assert asked(f"query{form}", query="never asked").status_code == 200


def test_an_unknown_query_says_what_to_try(asked: Report) -> None:
    page = soup(asked("query", query="Never  ASKED", device="mobile"))
    assert words(page.h1) == "Nothing is known of “ never asked ”"
    assert [words(each) for each in page.select(".calm li")] == [
        "Look at 365 days",
        "Look without filters",
        "Queries that contain it",
        "All queries",
    ]


HOSTILE = {
    "markup": "<script>alert(1)</script><img src=x onerror=alert(2)>",
    "a template": "{{ config }}{% raw %}",
    "right to left": "\u202e\u05e9\u05dc\u05d5\u05dd\u202c",
    "emoji": "\U0001f600" * 500,
    "a formula": "=cmd|' /C calc'!A0",
    "quotes": "\"'><b>",
    "isolates": "a\u2069\u2069b",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_query_is_text_and_nothing_else(
    text: str, history: Visits, report_of: Any
) -> None:
    for _ in range(2):
        somebody = history.visitor()
        history.search("parking", 4, visitor=somebody)
        history.search(normal_query(text), 4, 1, visitor=somebody, minute=2)
    report = report_of(*history.events)
    for query in (text, "parking"):
        page = soup(report("query", query=query, **JUNE))
        assert normal_query(text) in {each.get_text() for each in page.select("bdi")}
        assert not page.select("img, b, script:not([src])")
        assert not [
            tag for tag in page.find_all(True) if any(a.startswith("on") for a in tag.attrs)
        ]
    assert json.loads(report("query.json", query=text, **JUNE).text)["facts"]["known"]
    assert normal_query(text) in report("query-after.csv", query="parking", **JUNE).text.replace(
        '""', '"'
    )
