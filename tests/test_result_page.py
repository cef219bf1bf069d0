"""The page of one result, over a real store."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import pytest
from bs4 import BeautifulSoup

from clickmw.events import Click, Event, Search, Shown, new_query_id
from clickmw.pictures import click_history

DAY_MS = 86_400_000
BEGIN_MS = 1_748_736_000_000  #: midnight of 1 June 2025
JUNE = {"from": "2025-06-01", "to": "2025-06-30"}
URL = "https://example.org/a"
PANELS = ("result-queries", "result-days", "result-places")

Report = Callable[..., Any]


def visit(
    query: str, day: int, position: int | None, url: str = URL, **more: Any
) -> tuple[Event, ...]:
    """Search, see a result and perhaps follow it; the search is no event where nobody knows it."""
    now = BEGIN_MS + (day - 1) * DAY_MS + 43_200_000 + more.pop("minute", 0) * 60_000
    clicked, told = more.pop("clicked", True), more.pop("told", True)
    visitor = f"{now:016x}"
    page = Search(now, "default", new_query_id(now), query, (), 9, visitor=visitor)
    page = page._replace(impressions=(Shown(url, position or 1, "BWEB", title="Page A"),))
    click = Click(
        now + 9_000, "default", url, position, "BWEB", page.query_id if told else None,
        title="Page A", visitor=visitor, **more,
    )  # fmt: skip
    return (*((page,) if told else ()), *((click,) if clicked else ()))


def history() -> list[Event]:
    """Five visits: four clicks from two queries, and one that was only shown."""
    return [
        *visit("parking", 2, 3),
        *visit("parking", 2, 3, minute=5),
        *visit("parking", 4, 1),
        *visit("museum", 4, 1, minute=5),
        *visit("museum", 6, 1, clicked=False),
    ]


@pytest.fixture
def asked(report_of: Callable[..., Report]) -> Report:
    report = report_of(*history())
    return lambda path, **arguments: report(path, **{**JUNE, "url": URL, **arguments})


def soup(answer: Any) -> BeautifulSoup:
    return BeautifulSoup(answer.text, "html.parser")


def words(element: Any) -> str:
    return " ".join(element.get_text(" ").split())


def rows(report: Report, panel: str, **more: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = report(f"{panel}.json", **more).json["rows"]
    return found


def numbers(report: Report, **more: Any) -> dict[str, Any]:
    found = report("result.json", **more).json["facts"]["headlines"]
    return {each["name"]: each["measure"]["value"] for each in found}


def test_the_head_has_the_numbers_of_the_result(asked: Report) -> None:
    assert numbers(asked) == {
        "clicks": 4,
        "impressions": 5,
        "item_ctr": 0.8,
        "average_position": 2.0,
    }


def test_the_page_shows_what_its_json_says(asked: Report) -> None:
    page = soup(asked("result"))
    assert words(page.h1) == "Page A"
    assert [words(each) for each in page.select(".figure .big")] == ["4", "5", "80.0%", "2.0"]


def test_queries_that_lead_here_are_listed_with_their_share(asked: Report) -> None:
    found = [
        (row["query"], row["clicks"], row["share_of_clicks"]["value"], row["position_mean"])
        for row in rows(asked, "result-queries")
    ]
    assert found == [("parking", 3, 0.75, 7 / 3), ("museum", 1, 0.25, 1.0)]


def test_clicks_and_position_are_told_day_by_day(asked: Report) -> None:
    days = rows(asked, "result-days")
    found = {
        row["day"][-2:]: (row["clicks"], row["impressions"], row["position_mean"])
        for row in days
        if row["impressions"]
    }
    assert len(days) == 30
    assert found == {"02": (2, 2, 3.0), "04": (2, 2, 1.0), "06": (0, 1, None)}


def test_both_are_drawn(asked: Report) -> None:
    charts = soup(asked("result")).select(".card-result-days .plot > title")
    assert [title.string for title in charts] == [
        "Clicks by day",
        "Average position by day; 1 is the top",
    ]


def test_places_are_told_by_module_and_position(asked: Report) -> None:
    found = [
        (row["module_code"], row["position"], row["clicks"], row["share_of_clicks"]["value"])
        for row in rows(asked, "result-places")
    ]
    assert found == [("BWEB", 1, 2, 0.5), ("BWEB", 3, 2, 0.5)]


@pytest.mark.parametrize("panel", PANELS)
def test_page_json_and_csv_of_a_panel_have_the_same_rows(panel: str, asked: Report) -> None:
    found = rows(asked, panel)
    records = list(csv.DictReader(io.StringIO(asked(f"{panel}.csv").text)))
    lines = soup(asked(panel)).select("tbody tr")
    assert len(found) == len(records) == len(lines)
    for row, record, line in zip(found, records, lines, strict=True):
        clicks = "" if row["clicks"] is None else str(row["clicks"])
        assert record["clicks"] == clicks
        assert (clicks or "–") in [words(cell) for cell in line.select("td.count")]


def test_clicks_without_a_query_or_a_position_are_told_too(report_of: Any) -> None:
    report = report_of(*history(), *visit("", 8, None, told=False))
    found = rows(report, "result-queries", url=URL, **JUNE)
    assert [(row["query"], row["clicks"]) for row in found] == [
        ("parking", 3),
        ("museum", 1),
        (None, 1),
    ]
    assert rows(report, "result-places", url=URL, **JUNE)[-1]["position"] is None
    assert numbers(report, url=URL, **JUNE)["average_position"] == 2.0


def test_impressions_are_not_kept_under_a_filter(asked: Report) -> None:
    found = numbers(asked, source="redirect")
    assert (found["impressions"], found["item_ctr"]) == (None, None)
    assert {row["impressions"] for row in rows(asked, "result-days", source="redirect")} == {None}


def test_a_web_address_is_a_link_that_tells_nothing_of_us(asked: Report) -> None:
    (link,) = soup(asked("result")).select(".subject a")
    assert link["href"] == URL
    assert {"noreferrer", "noopener"} <= set(link["rel"])


@pytest.mark.parametrize(
    "url",
    ["javascript:alert(1)", "data:text/html,x", "/inside", "doc:17", "<b>x</b>", "//evil.example"],
)
def test_nothing_else_becomes_a_link(url: str, report_of: Any) -> None:
    page = soup(report_of(*visit("parking", 2, 1, url))("result", url=url, **JUNE))
    assert words(page.h1) == "Page A"
    assert words(page.select_one(".subject .url")) == url
    assert not page.select(".subject a, .subject b")


@pytest.mark.parametrize("form", ["", ".json", ".csv"])
def test_of_an_unknown_result_nothing_is_known_and_that_is_no_error(
    form: str, asked: Report
) -> None:
    assert asked(f"result{form}", url="https://example.org/never").status_code == 200


@pytest.mark.parametrize(
    "url", ["https://example.org/never", "<script>alert(1)</script>", "\U0001f600" * 500, "\u202ex"]
)
def test_an_unknown_result_is_named_and_says_what_to_try(url: str, asked: Report) -> None:
    page = soup(asked("result", url=url))
    assert page.h1.bdi.get_text() == url
    assert [words(each) for each in page.select(".calm li")] == ["Look at 365 days", "All results"]
    assert not page.select("script:not([src])")


def test_weeks_have_the_mean_of_their_clicks() -> None:
    from datetime import date, timedelta

    days = [
        {
            "day": date(2025, 1, 6) + timedelta(days=n),
            "complete": True,
            "clicks": 3 if n % 7 == 0 else n % 7 == 1,
            "position_mean": 1.0 if n % 7 == 0 else 5.0 if n % 7 == 1 else None,
        }
        for n in range(140)
    ]
    clicks, places = click_history(days)
    assert len(clicks.chart.columns) == 20
    assert clicks.chart.columns[0].title == "6 Jan – 12 Jan 2025: 4 clicks"
    assert places.chart.columns[0].title == "6 Jan – 12 Jan 2025: position 2.0"
