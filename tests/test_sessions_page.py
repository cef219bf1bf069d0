"""The page of sessions, over a real store."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import pytest
from bs4 import BeautifulSoup

from clickmw.events import Answer, Click, Event, Search, Shown, new_query_id

MINUTE_MS = 60_000
NOON_MS = 1_748_779_200_000  #: of 1 June 2025
JUNE = {"from": "2025-06-01", "to": "2025-06-30"}
RESULT = Shown("https://example.org/a", 1, "BWEB")

Report = Callable[..., Any]


def search(
    visitor: str, minute: float, query: str, click_s: float | None = None, hits: int = 5
) -> tuple[Event, ...]:
    """Search, and follow the first result so many seconds later."""
    now = NOON_MS + round(minute * MINUTE_MS)
    page = Search(now, "default", new_query_id(now), query, (RESULT,) if hits else (), hits)
    page = page._replace(visitor=visitor)
    if click_s is None:
        return (page,)
    clicked = Click(now + round(1_000 * click_s), "default", RESULT.url, 1, "BWEB", page.query_id)
    return page, clicked._replace(visitor=visitor)


def answered(visitor: str, minute: float, query: str) -> tuple[Event, ...]:
    (page,) = search(visitor, minute, query)
    said = Answer(page.received_ms + 900, "default", query, "Nine to five.", 1, page.query_id)
    return page, said._replace(visitor=visitor)


ANNA, BERT, CARL, DORA = ("aa" * 8, "bb" * 8, "cc" * 8, "dd" * 8)
#: Anna and Bert change "loo" to "toilet"; Carl comes back after an hour; Dora gets an answer.
HISTORY: list[Event] = [
    *search(ANNA, 0, "loo"),
    *search(ANNA, 1, "toilet", 10.0),
    *search(BERT, 0, "loo"),
    *search(BERT, 2, "toilet", 20.0),
    *search(CARL, 0, "jobs"),
    *search(CARL, 60, "jobs at night"),
    *answered(DORA, 0, "opening hours"),
    *search(DORA, 4, "tickets", hits=0),
]


@pytest.fixture
def asked(report_of: Callable[..., Report]) -> Report:
    report = report_of(*HISTORY)
    return lambda path, **arguments: report(path, **{**JUNE, **arguments})


def soup(answer: Any) -> BeautifulSoup:
    return BeautifulSoup(answer.text, "html.parser")


def words(element: Any) -> str:
    return " ".join(element.get_text(" ").split())


def facts(report: Report) -> dict[str, Any]:
    found: dict[str, Any] = report("sessions.json").json["facts"]
    return found


def parts(report: Report) -> dict[str, tuple[Any, Any]]:
    return {
        each["name"]: (each["measure"]["numerator"], each["measure"]["denominator"])
        for each in facts(report)["headlines"]
    }


def test_every_number_says_what_it_is_made_of(asked: Report) -> None:
    assert parts(asked) == {
        "searches_per_session": (8, 5),
        "sessions_clicked": (2, 5),
        "sessions_ending_unclicked": (3, 5),
        "refinement_rate": (3, 8),
        "abandonment_rate": (2, 7),
        "answered_rate": (1, 7),
        "first_click_median": (2, 8),
        "first_click_most": (2, 8),
    }


def test_the_time_to_the_first_click_is_told_for_half_and_for_most(asked: Report) -> None:
    times = [each["measure"]["value"] for each in facts(asked)["headlines"][-2:]]
    assert times == [15.0, 19.0]


def test_the_page_shows_what_its_json_says(asked: Report) -> None:
    page = soup(asked("sessions"))
    shown = {words(each.summary): words(each.select_one(".big")) for each in page.select(".figure")}
    assert shown == {
        "Searches per session": "1.60",
        "Sessions with a click": "40.0%",
        "Ending without a click": "60.0%",
        "Refined": "37.5%",
        "Abandoned": "28.6%",
        "Answered without a click": "14.3%",
        "Time to first click": "15 s",
        "Nine of ten first clicks": "19 s",
    }


def test_every_number_is_defined(asked: Report) -> None:
    known = {row["metric"]: row for row in asked("definitions.json").json["definitions"]}
    for each in facts(asked)["headlines"]:
        assert known[each["name"]]["definition"] == each["definition"]


def test_the_page_says_what_was_read(asked: Report) -> None:
    assert (
        "Read from all days of the period: 1 Jun – 30 Jun 2025, 5 sessions with 8 searches."
        in words(soup(asked("sessions")))
    )


def test_the_distribution_adds_up(asked: Report) -> None:
    rows = asked("session-lengths.json").json["rows"]
    assert [(row["searches"], row["sessions"]) for row in rows] == [
        ("1", 2),
        ("2", 3),
        ("3", 0),
        ("4", 0),
        ("5+", 0),
    ]


def test_steps_are_those_of_two_visitors_and_more(asked: Report) -> None:
    (row,) = asked("chains.json").json["rows"]
    assert (row["query"], row["next_query"], row["change"]) == ("loo", "toilet", "other words")
    assert (row["steps"], row["visitors"]) == (2, 2)
    assert (row["clicked_before"]["value"], row["clicked_after"]["value"]) == (0.0, 1.0)


def test_the_number_of_visitors_is_in_the_address(asked: Report) -> None:
    rows = asked("chains.json", visitors=1).json["rows"]
    assert [row["query"] for row in rows] == ["loo", "opening hours"]
    field = soup(asked("sessions", visitors=1)).select_one("input[name=visitors]")
    assert field["value"] == "1"


@pytest.mark.parametrize("panel", ["chains", "session-lengths"])
def test_page_json_and_csv_have_the_same_rows(panel: str, asked: Report) -> None:
    rows = asked(f"{panel}.json").json["rows"]
    records = list(csv.DictReader(io.StringIO(asked(f"{panel}.csv").text)))
    lines = soup(asked(panel)).select("tbody tr")
    assert len(rows) == len(records) == len(lines)
    for row, record, line in zip(rows, records, lines, strict=True):
        key = "steps" if panel == "chains" else "sessions"
        assert str(row[key]) == record[key] == words(line.select_one("td.count"))


def test_where_visitors_are_not_told_apart_the_page_says_so(report_of: Any) -> None:
    strangers = [event._replace(visitor="") for event in HISTORY]
    report = report_of(*strangers)
    page = soup(report("sessions", **JUNE))
    assert words(page.h2) == "Visitors are not told apart here"
    assert words(page.select_one(".calm")).startswith(
        "Visitors are not told apart here 8 searches were read"
    )
    assert not page.select(".figure")


def test_a_period_without_searches_says_so(asked: Report) -> None:
    empty = asked("sessions", **{"from": "2025-05-01", "to": "2025-05-02"})
    assert words(soup(empty).h2) == "No searches in this period"


def test_searches_without_a_visitor_are_counted_apart(report_of: Any) -> None:
    report = report_of(*HISTORY, *search("", 9, "alone"))
    assert "1 more have no visitor" in words(soup(report("sessions", **JUNE)))


def test_a_hostile_query_is_text(report_of: Any) -> None:
    text = "<script>alert(1)</script>"
    events = [
        event
        for visitor in (ANNA, BERT)
        for event in (*search(visitor, 0, text), *search(visitor, 1, "\u202e" + "\U0001f600" * 300))
    ]
    page = soup(report_of(*events)("sessions", **JUNE))
    assert text in {each.get_text() for each in page.select("bdi")}
    assert not page.select("script:not([src])")
