"""The report over a store held in memory."""

from __future__ import annotations

import csv
import io
import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import Client, TestResponse

from clickmw.catalog import NAVIGATION, OVERVIEW_PANELS, PAGES, PANELS
from clickmw.errors import BadFilter, StoreError
from clickmw.facets import FACET_PANELS
from clickmw.filters import COMPARISONS, Period, named_period, read_question
from clickmw.login import ReportAccess
from clickmw.metrics import METRICS, Figure, Measure, mean, read_figures, share
from clickmw.report import HEADERS, Report
from clickmw.sites import Key, Site, Sites
from clickmw.stores.base import (
    ChainRow,
    DayRow,
    Dwell,
    Explained,
    FacetRow,
    Filter,
    LiveRow,
    ModuleRow,
    NeighbourRow,
    PlaceRow,
    PositionRow,
    QueryDayRow,
    QueryRow,
    ResultDayRow,
    ResultQueryRow,
    ResultRow,
    Sessions,
    Totals,
    TrendRow,
)
from clickmw.wording import DASH, format_decimal, format_percent

TODAY = date(2026, 6, 28)
PASSWORD = "correct horse"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings the report reads."""

    prefix: str = "/_clicks"
    time_zone: str = "Europe/Berlin"
    sites: Sites = field(default_factory=lambda: Sites([Site(handle="default")]))
    report_auth: Callable[[dict[str, Any]], object] | None = None
    admin_password: str | None = None
    secret: str = "s" * 40
    old_secrets: tuple[str, ...] = ()
    keys: tuple[Key, ...] = ()
    journal: Path = Path("unused")
    trusted_proxies: int = 0
    keep_days: int = 395
    min_visitors: int = 0
    visitor: str = "daily"
    optout: str = "drop"
    dedupe_window_s: int = 1_800
    count_trust: frozenset[str] = frozenset(("signed", "session", "keyed", "anonymous"))


@dataclass
class MemoryReader:
    """A store of ready-made rows; what it is asked decides which days it sums."""

    days: list[DayRow] = field(default_factory=list)
    queries: list[QueryRow] = field(default_factory=list)
    results: list[ResultRow] = field(default_factory=list)
    position_rows: list[PositionRow] = field(default_factory=list)
    module_rows: list[ModuleRow] = field(default_factory=list)
    tail: list[LiveRow] = field(default_factory=list)
    facets: Mapping[str, Sequence[FacetRow]] = field(default_factory=dict)
    excluded: Mapping[str, int] = field(default_factory=dict)
    handles: list[str] = field(default_factory=lambda: ["default"])
    asked: list[Filter] = field(default_factory=list)
    closed: int = 0
    begun: date | None = None  #: the first day, where that is not the first of the days

    def sites(self) -> list[str]:
        return self.handles

    def day_span(self, site: str | None) -> tuple[date, date] | None:
        return (self.begun or self.days[0].day, self.days[-1].day) if self.days else None

    def totals(self, asked: Filter) -> Totals:
        self.asked.append(asked)
        days = [row for row in self.days if asked.first_day <= row.day <= asked.last_day]
        if asked.module not in {None, *(row.module_code for row in self.module_rows)}:
            days = []
        searches = sum(row.searches for row in days)
        clicked = sum(row.searches_clicked for row in days)
        clicks = sum(row.clicks for row in days)
        empty = sum(row.searches_empty for row in days)
        return Totals(
            searches=searches,
            searches_clicked=clicked,
            searches_known=searches,
            searches_empty=empty,
            searches_answered_unclicked=searches - clicked - empty,
            search_reciprocal_sum=clicked * 0.61,
            clicks=clicks,
            clicks_positioned=clicks,
            position_sum=round(clicks * 2.7),
            click_reciprocal_sum=clicks * 0.58,
            impressions=sum(row.impressions for row in days),
            excluded=self.excluded if days else {},
        )

    def daily(self, asked: Filter) -> list[DayRow]:
        known = {row.day: row for row in self.days}
        count = (asked.last_day - asked.first_day).days + 1
        days = [asked.first_day + timedelta(days=n) for n in range(count)]
        return [known.get(day, DayRow(day, 0, 0, 0, 0, 0)) for day in days]

    def unnamed_queries(self, asked: Filter) -> None:
        return None

    def top_queries(self, asked: Filter, limit: int) -> list[QueryRow]:
        return self.queries[:limit]

    def top_results(self, asked: Filter, limit: int) -> list[ResultRow]:
        return self.results[:limit]

    def positions(self, asked: Filter) -> list[PositionRow]:
        return [r for r in self.position_rows if asked.module in {None, r.module_code}]

    def modules(self, asked: Filter) -> list[ModuleRow]:
        return [r for r in self.module_rows if asked.module in {None, r.module_code}]

    def facet(self, asked: Filter, name: str) -> list[FacetRow]:
        return [row for row in self.facets.get(name, ()) if row.searches or row.clicks]

    def queries_without_clicks(self, asked: Filter, limit: int) -> list[QueryRow]:
        return [row for row in self.queries if not row.clicks and not row.searches_empty][:limit]

    def queries_without_results(self, asked: Filter, limit: int) -> list[QueryRow]:
        return [row for row in self.queries if row.searches_empty][:limit]

    def queries_with_few_clicks(self, asked: Filter, limit: int, *, least: int) -> list[QueryRow]:
        found = [row for row in self.queries if row.searches >= least and row.searches_clicked]
        return sorted(found, key=lambda row: row.searches_clicked / row.searches)[:limit]

    def queries_with_low_ctr(
        self, asked: Filter, limit: int, *, least: int, below: int
    ) -> list[QueryRow]:
        known = [row for row in self.queries if row.searches + row.clicks >= max(least, 1)]
        return [row for row in known if 100 * row.clicks < below * row.searches][:limit]

    def queries_clicked_deep(
        self, asked: Filter, limit: int, *, least: int, deeper: int
    ) -> list[QueryRow]:
        return [row for row in self.queries if (row.position_mean or 0) >= deeper][:limit]

    def results_without_clicks(self, asked: Filter, limit: int, *, least: int) -> list[ResultRow]:
        return [replace(row, clicks=0, position_mean=None) for row in self.results[:limit]]

    def trending_queries(
        self, asked: Filter, before: Filter, limit: int, *, least: int
    ) -> list[TrendRow]:
        return [TrendRow(row.query, None, row.searches, 3) for row in self.queries[:limit]]

    def trending_results(
        self, asked: Filter, before: Filter, limit: int, *, least: int
    ) -> list[TrendRow]:
        return [TrendRow(row.url, row.title, row.clicks, 3) for row in self.results[:limit]]

    def query_days(self, asked: Filter, query: str) -> list[QueryDayRow]:
        return [QueryDayRow(asked.last_day, 9, 4, 9, 1, 5, 80, 2.0)]

    def query_dwell(self, asked: Filter, query: str, *, clicks: int) -> Dwell:
        return Dwell(known=4, short=1, long=2, unknown=1, median_s=31.0)

    def query_neighbours(
        self, asked: Filter, query: str, *, searches: int, limit: int
    ) -> tuple[list[NeighbourRow], list[NeighbourRow]]:
        rows = [NeighbourRow(row.query, 3, 1, 3) for row in self.queries[:limit]]
        return rows, rows

    def explain_query(self, asked: Filter, query: str, *, searches: int) -> Explained:
        row = self.queries[0] if self.queries else None
        places = [
            PlaceRow(each.url, each.title, self.code, place, each.impressions or 0, each.clicks)
            for place, each in enumerate(self.results[:5], start=1)
        ]
        return Explained(row, searches if row else 0, places)

    def result_queries(self, asked: Filter, url: str, limit: int) -> list[ResultQueryRow]:
        rows = [ResultQueryRow(row.query, 5, 5, 1.4) for row in self.queries[:limit]]
        return [*rows, ResultQueryRow(None, 2, 0, None)]

    def result_days(self, asked: Filter, url: str) -> list[ResultDayRow]:
        return [ResultDayRow(asked.last_day, 5, 40, 1.4)]

    def result_positions(self, asked: Filter, url: str) -> list[PlaceRow]:
        return [PlaceRow(row.url, row.title, self.code, 1, 0, 5) for row in self.results[:1]]

    def sessions(self, asked: Filter, *, searches: int, limit: int) -> Sessions:
        steps = [ChainRow(row.query, row.query, 3, 3, 1, 2) for row in self.queries[:limit]]
        return Sessions(
            first_day=asked.first_day,
            last_day=asked.last_day,
            sessions=20,
            searches=40,
            searches_alone=2,
            by_searches=(10, 5, 3, 1, 1),
            sessions_clicked=12,
            refined=6,
            last_unclicked=5,
            searches_known_found=35,
            abandoned=8,
            answered=2,
            first_click_s=(6.0, 40.0),
            searches_timed=20,
            chains=tuple(steps),
        )

    @property
    def code(self) -> str:
        return self.module_rows[0].module_code if self.module_rows else "BWEB"

    def live(self, limit: int) -> list[LiveRow]:
        return self.tail[:limit]

    def ledger(self) -> dict[str, int]:
        return {}

    def close(self) -> None:
        self.closed += 1


class Noting:
    """A reader that notes the filters its reads are asked with, but for the filter bar's."""

    def __init__(self, reader: MemoryReader) -> None:
        self.reader = reader
        self.filters: list[Filter] = []

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.reader, name)

        def read(*arguments: Any, **more: Any) -> Any:
            self.filters += [each for each in arguments if isinstance(each, Filter)]
            return found(*arguments, **more)

        return read if callable(found) else found


WORDS = [
    "tax form",
    "passport renewal",
    "opening hours",
    "social security card",
    "hiking permit",
    "campsite map",
    "birth certificate",
    "junior ranger",
    "visa waiver",
    "yosemite half dome lottery",
    "jobs",
    "small business loan",
    "flood insurance",
    "medicare enrollment",
    "address change",
    "voter registration",
    "lost green card",
    "usajobs login",
    "grand canyon shuttle",
    "fafsa",
]


def realistic(days: int = 75, seed: int = 5) -> MemoryReader:
    """Return a reader with *days* days of plausible counts that end today."""
    draw = random.Random(seed)
    rows = []
    for back in range(days - 1, -1, -1):
        day = TODAY - timedelta(days=back)
        weight = (0.55 if day.weekday() > 4 else 1.0) * (0.4 if back == 0 else 1.0)
        searches = int(weight * draw.randint(420, 560))
        clicked = int(searches * draw.uniform(0.44, 0.56))
        clicks = int(clicked * draw.uniform(1.1, 1.3))
        rows.append(DayRow(day, searches, clicked, int(searches * 0.06), clicks, searches * 9))
    queries = []
    for place, word in enumerate(WORDS):
        searches = 900 // (place + 1) + draw.randint(3, 20)
        empty = searches if place in {9, 16, 18} else 0
        clicked = 0 if empty or place in {5, 13} else int(searches * draw.uniform(0.3, 0.7))
        position = draw.uniform(1.2, 5) if clicked else None
        row = QueryRow(word, searches, clicked, searches, empty, clicked, searches * 9, position)
        queries.append(row)
    results = [
        ResultRow(
            f"https://www.example.org/{word.replace(' ', '-')}/",
            word.capitalize() if place % 3 else None,
            600 // (place + 1),
            5000 // (place + 1),
            1.3 + place / 5,
        )
        for place, word in enumerate(WORDS)
    ]
    return MemoryReader(
        days=rows,
        queries=queries,
        results=results,
        position_rows=[
            *(PositionRow("BWEB", n, n, 9000 - 350 * n, int(2400 / n**1.3)) for n in range(1, 21)),
            PositionRow("BWEB", 21, 30, 800, 9),
            *(PositionRow("BOOS", n, n, 900, 240 // n) for n in range(1, 4)),
        ],
        module_rows=[
            ModuleRow("BWEB", 90_000, 6100, 2.9),
            ModuleRow("BOOS", 2700, 440, 1.4),
            ModuleRow("XYZ", 400, 12, None),
        ],
        tail=[
            LiveRow(1782640000000 - n * 7300, kind, "default", word, url, place, module, verdict)
            for n, (kind, word, url, place, module, verdict) in enumerate(
                [
                    (
                        "click",
                        "tax form",
                        "https://www.example.org/tax-form/",
                        3,
                        "BWEB",
                        "counted",
                    ),
                    ("search", "tax form", None, None, None, "counted"),
                    ("click", "jobs", "/jobs?x=1", 1, "BOOS", "duplicate"),
                    ("search", "jobs", None, None, None, "robot"),
                ]
                * 4
            )
        ],
        excluded={"click.duplicate": 311, "click.robot": 90, "search.repeat": 1204},
    )


HEALTH = {
    "status": "ok",
    "version": "0.1.0",
    "received": 181_204,
    "stored": 181_190,
    "duplicates": 311,
    "robots": 90,
    "opted_out": 12,
    "rejected": {"signature": 3},
    "dropped": {},
    "pending": 2,
    "unjoined": 0,
    "journal_bytes": 48_213,
    "last_event_ms": 1,
    "store": {"kind": "sqlite", "ok": True, "error": None},
}


def make_report(
    reader: MemoryReader | None = None,
    *,
    settings: Settings | None = None,
    open_reader: Callable[[], Any] | None = None,
    health: Mapping[str, Any] = HEALTH,
) -> Report:
    """Return a report over *reader* that everybody may see, unless *settings* say otherwise."""
    settings = settings or Settings(report_auth=lambda environ: True)
    store = reader if reader is not None else realistic()
    return Report(
        settings,
        ReportAccess(settings),
        open_reader or (lambda: store),
        lambda: dict(health),
        lambda site: TODAY,
    )


def get(path: str, report: Report | None = None, **more: Any) -> TestResponse:
    """Return the answer of *report* to a GET below its root."""
    return Client(report or make_report()).get(f"/_clicks/report{path}", **more)


def page(path: str, report: Report | None = None, *, status: int = 200) -> BeautifulSoup:
    """Return a page, parsed."""
    answer = get(path, report)
    assert answer.status_code == status
    assert answer.content_type == "text/html; charset=utf-8"
    return BeautifulSoup(answer.text, "html.parser")


def texts(soup: BeautifulSoup, selector: str) -> list[str]:
    return [" ".join(each.get_text(" ").split()) for each in soup.select(selector)]


def named(name: str, suffix: str = "") -> str:
    """Return the address of a page by its name, with what it has to be about."""
    page = PAGES.get(name) or PANELS.get(name)
    about = {"query": "?query=tax+form", "url": "?url=https%3A%2F%2Fwww.example.org%2Ftax-form%2F"}
    return f"/{name}{suffix}{about.get(page.needs, '') if page else ''}"


ALL_PAGES = [named(name) for name in ("", *PANELS, *PAGES, "definitions")]
ROUTES = [
    "",
    "/",
    "/nothing",
    "/?period=never",
    "/login",
    "/../x",
    *(
        f"/{name}{suffix}"
        for name in (*PANELS, *PAGES, "overview", "definitions")
        for suffix in ("", ".json", ".csv")
    ),
]


# Pages


def test_the_overview_shows_every_metric() -> None:
    assert texts(page("/"), ".figure summary") == [metric.label for metric in METRICS]


def test_a_rate_shows_its_parts_and_its_interval() -> None:
    totals = realistic().totals(Filter(first_day=TODAY - timedelta(days=27), last_day=TODAY))
    basis = texts(page("/"), ".figure .basis")[1]
    assert basis.startswith(f"{totals.searches_clicked:,} / {totals.searches:,} 95%: ")


def test_every_panel_of_the_navigation_exists() -> None:
    answers = {name: get(f"/{name}").status_code for name, _ in NAVIGATION}
    assert set(answers.values()) == {200}


@pytest.mark.parametrize("name", [*PANELS, *PAGES, "definitions", "overview"])
@pytest.mark.parametrize("path", ["page", "json", "csv"])
def test_each_panel_has_a_page_and_two_files(name: str, path: str) -> None:
    suffix = "" if path == "page" else f".{path}"
    kinds = {"page": "text/html", "json": "application/json", "csv": "text/csv"}
    answer = get(named(name, suffix))
    assert (answer.status_code, answer.mimetype) == (200, kinds[path])


@pytest.mark.parametrize("name", ["queries", "results", "days", "unclicked", "empty", "modules"])
def test_the_page_and_its_files_have_the_same_rows(name: str) -> None:
    shown = len(page(f"/{name}").select("tbody tr"))
    records = list(csv.DictReader(io.StringIO(get(f"/{name}.csv").text)))
    assert (len(get(f"/{name}.json").json["rows"]), len(records)) == (shown, shown)


def test_the_bundle_has_every_panel_and_the_definitions() -> None:
    bundle = get("/overview.json").json
    assert {*OVERVIEW_PANELS, "metrics", "definitions", "health", "period"} <= bundle.keys()


def test_a_rate_in_json_has_value_interval_and_parts() -> None:
    ctr = get("/overview.json").json["metrics"]["search_ctr"]
    assert {"value", "low", "high", "numerator", "denominator"} <= ctr.keys()
    assert ctr["low"] < ctr["value"] == ctr["numerator"] / ctr["denominator"] < ctr["high"]


def test_the_page_names_the_time_zone() -> None:
    assert "Days in Europe/Berlin." in page("/").get_text()


def test_the_running_day_is_drawn_differently() -> None:
    assert len(page("/").select(".chart.days .column.running")) == 1


def test_a_period_that_is_over_has_no_running_day() -> None:
    assert not page("/?period=yesterday").select(".column.running")


def test_a_long_period_is_drawn_as_weeks() -> None:
    chart = page("/?period=365d", make_report(realistic(days=400))).select_one(".chart.days")
    assert len(chart.select(".column")) == 53
    assert chart.find("title").string == "Searches and clicks by week"


def test_a_chart_holds_every_search_of_its_period() -> None:
    reader = realistic(days=400)
    titles = texts(page("/?period=365d", make_report(reader)), ".chart.days .column title")
    shown = sum(int(re.search(r"([\d,]+) searches", title)[1].replace(",", "")) for title in titles)
    assert shown == sum(row.searches for row in reader.days[-365:])


def test_charts_have_a_title_a_description_and_a_table() -> None:
    soup = page("/")
    chart = soup.select_one(".card-days .plot")
    assert chart.find("title").string == "Searches and clicks by day"
    assert chart.find("desc").string
    assert len(soup.select(".card-days details tbody tr")) == 28


def test_position_curves_never_mix_modules() -> None:
    captions = texts(page("/positions"), "figcaption")
    assert [code for code in ("BWEB", "BOOS") if any(code in each for each in captions)] == [
        "BWEB",
        "BOOS",
    ]
    assert not [each for each in captions if "BWEB" in each and "BOOS" in each]


def test_module_codes_have_names_from_the_list_and_from_the_site() -> None:
    sites = Sites([Site(handle="default", modules={"XYZ": "My block"})])
    settings = Settings(report_auth=lambda environ: True, sites=sites)
    names = texts(page("/modules", make_report(settings=settings)), "tbody .name")
    assert names == ["Web Results (Bing)", "Best Bets: Text", "My block"]


def test_sorting_puts_unknown_values_last() -> None:
    rows = get("/modules.json?sort=position_mean").json["rows"]
    assert [row["module_code"] for row in rows] == ["BOOS", "BWEB", "XYZ"]


def test_queries_and_results_lead_to_all_that_is_known_of_them() -> None:
    soup = page("/live?module=BWEB&period=7d")
    assert soup.select_one("td.query a")["href"] == (
        "/_clicks/report/query?period=7d&module=BWEB&query=tax+form"
    )
    assert soup.select_one("td.result a")["href"] == (
        "/_clicks/report/result?period=7d&module=BWEB"
        "&url=https%3A%2F%2Fwww.example.org%2Ftax-form%2F"
    )


def test_the_live_page_shows_verdicts() -> None:
    verdicts = texts(page("/live"), ".word")
    assert verdicts[:4] == ["counted", "counted", "duplicate", "robot"]


def test_the_live_page_can_reload_itself() -> None:
    assert page("/live?refresh=5").select_one("meta[http-equiv=refresh]")["content"] == "5"


def test_excluded_events_are_listed_by_reason_in_words() -> None:
    first = page("/excluded").select_one("tbody tr").get_text(" ").split()
    assert first[:2] == ["search", "repeat"]
    assert first[-1] == "1,204"


def test_the_health_strip_shows_the_ledger() -> None:
    health = dict(zip(texts(page("/"), ".health dt"), texts(page("/"), ".health dd"), strict=True))
    assert (health["Received"], health["Rejected"], health["Store"]) == ("181,204", "3", "sqlite")


def test_the_health_strip_survives_an_empty_ledger() -> None:
    assert DASH in texts(page("/", make_report(health={})), ".health dd")


def test_the_reader_is_closed() -> None:
    reader = realistic()
    get("/queries", make_report(reader))
    assert reader.closed == 1


def test_more_rows_are_one_link_away() -> None:
    reader = realistic()
    reader.queries *= 20
    link = page("/queries", make_report(reader)).select_one(".more a")
    assert "limit=500" in link["href"]


def test_no_page_shows_a_visitor() -> None:
    pages = [get(path).text for path in ALL_PAGES]
    assert not re.search(r"\b[0-9a-f]{16,}\b", " ".join(pages))


def test_pages_have_no_inline_style_or_script() -> None:
    for path in ALL_PAGES:
        soup = page(path)
        assert not soup.select("style, script:not([src]), [style]")
        assert not [
            tag for tag in soup.find_all(True) if any(a.startswith("on") for a in tag.attrs)
        ]


def test_ids_are_unique_and_labels_have_their_fields() -> None:
    soup = page("/")
    ids = [tag["id"] for tag in soup.select("[id]")]
    assert len(ids) == len(set(ids))
    assert {label["for"] for label in soup.select("label[for]")} <= set(ids)


# Unknown numbers


def test_a_metric_without_a_denominator_is_a_dash() -> None:
    reader = MemoryReader(days=[DayRow(TODAY, 0, 0, 0, 3, 0)])
    figures = dict(
        zip(
            texts(page("/", make_report(reader)), ".figure summary"),
            texts(page("/", make_report(reader)), ".figure .big"),
            strict=True,
        )
    )
    assert (figures["Search CTR"], figures["Item CTR"], figures["Clicks"]) == (DASH, DASH, "3")


def test_an_unknown_rate_is_null_in_json_and_empty_in_csv() -> None:
    reader = MemoryReader(
        days=[DayRow(TODAY, 1, 0, 0, 0, 0)],
        queries=[QueryRow("a", 1, 0, 0, 0, 0, 0, None)],
    )
    report = make_report(reader)
    row = get("/queries.json", report).json["rows"][0]
    record = next(csv.DictReader(io.StringIO(get("/queries.csv", report).text)))
    assert (row["no_result_rate"]["value"], row["position_mean"]) == (None, None)
    assert (record["no_result_rate"], record["position_mean"]) == ("", "")


def test_zero_is_not_a_dash() -> None:
    assert (format_percent(0.0), format_percent(None)) == ("0.0%", DASH)
    assert (format_decimal(0.0), format_decimal(None)) == ("0.00", DASH)


# Changes


def figure(name: str, now: Measure, before: Measure) -> Figure:
    return Figure(next(metric for metric in METRICS if metric.name == name), now, before)


def test_a_count_changes_by_a_fraction_of_the_old_value() -> None:
    assert figure("searches", Measure(150), Measure(100)).change == 0.5


def test_a_rate_changes_by_a_difference() -> None:
    change = figure("search_ctr", share(60, 100), share(50, 100)).change
    assert change == pytest.approx(0.1)


def test_nothing_before_is_no_change() -> None:
    assert figure("searches", Measure(5), Measure(0)).change is None
    assert figure("search_ctr", share(1, 2), share(0, 0)).change is None


def test_a_change_within_the_intervals_is_not_called_better() -> None:
    unclear = figure("search_ctr", share(6, 10), share(5, 10))
    clear = figure("search_ctr", share(600, 1000), share(500, 1000))
    assert (unclear.direction, clear.direction) == ("", "better")


def test_a_change_without_an_interval_is_not_called_better() -> None:
    assert figure("mrr_clicks", mean(90, 100), mean(50, 100)).direction == ""


def test_a_change_carries_its_interval() -> None:
    change = get("/overview.json?period=7d").json["metrics"]["searches"]
    assert change["change_low"] < change["change"] < change["change_high"]


def test_a_change_whose_interval_covers_zero_may_be_chance() -> None:
    reader = realistic()
    reader.days = [
        replace(row, searches_clicked=row.searches // 2 + (5 if row.day.day > 21 else 0))
        for row in reader.days
    ]
    deltas = texts(page("/?period=7d", make_report(reader)), ".delta")
    assert "may be chance" in deltas[1]


def test_scores_have_a_mean_with_its_interval_and_the_number_of_them() -> None:
    totals = Totals(ratings=10, score_sum=70, score_square_sum=530)
    found = next(each for each in read_figures(totals, None) if each.metric.unit == "score").now
    assert (found.value, found.denominator) == (7.0, 10)
    assert found.low == pytest.approx(7 - 2.262 * (40 / 9 / 10) ** 0.5, abs=0.01)
    assert found.high is not None
    assert found.high <= 10


def test_a_rate_of_what_is_not_kept_is_unknown() -> None:
    totals = Totals(searches=5, clicks=3, impressions=None)
    values = {each.metric.name: each.now.value for each in read_figures(totals, None)}
    assert (values["item_ctr"], values["impressions"]) == (None, None)


def test_fewer_searches_without_results_are_better() -> None:
    assert figure("no_result_rate", share(50, 1000), share(200, 1000)).direction == "better"


def test_small_counts_show_both_numbers_instead_of_a_percentage() -> None:
    reader = MemoryReader(
        days=[
            DayRow(TODAY - timedelta(days=60), 1, 0, 0, 0, 9),
            DayRow(TODAY - timedelta(days=28), 3, 0, 0, 0, 9),
            DayRow(TODAY, 5, 0, 0, 0, 9),
        ]
    )
    assert texts(page("/", make_report(reader)), ".delta")[0] == "3 → 5"


def test_a_period_before_the_first_event_is_not_compared_with() -> None:
    soup = page("/", make_report(realistic(days=40)))
    assert set(texts(soup, ".delta")) == {"no data for comparison"}
    assert "Recording began on 20 May 2026: there are no data of all the days to" in soup.get_text()


def test_what_is_not_compared_has_no_change_in_the_files_either() -> None:
    report = make_report(realistic(days=40))
    for metric in get("/overview.json", report).json["metrics"].values():
        assert (metric["previous"]["value"], metric["change"]) == (None, None)
    records = list(csv.DictReader(io.StringIO(get("/overview.csv", report).text)))
    assert {(record["previous"], record["change"]) for record in records} == {("", "")}


def test_days_before_recording_began_are_unknown_and_not_zero() -> None:
    report = make_report(realistic(days=5))
    rows = get("/days.json?period=7d", report).json["rows"]
    assert [row["searches"] is None for row in rows] == [True, True, *[False] * 5]
    assert [row["day"] for row in rows[:2]] == ["2026-06-22", "2026-06-23"]
    records = list(csv.DictReader(io.StringIO(get("/days.csv?period=7d", report).text)))
    assert [record["clicks"] == "" for record in records] == [True, True, *[False] * 5]
    soup = page("/days?period=7d", report)
    cells = soup.select("table.rows tbody tr")[0].select("td")
    assert {cell.get_text(strip=True) for cell in cells} == {"–"}
    assert "Recording began on 24 Jun 2026: of the days before there are no data." in " ".join(
        soup.get_text().split()
    )


def test_days_before_recording_began_are_absent_from_the_chart() -> None:
    soup = page("/?period=7d", make_report(realistic(days=5)))
    columns = soup.select(".chart.days g.column")
    assert ["absent" in column["class"] for column in columns] == [True, True, *[False] * 5]
    assert [len(column.select(".whole")) for column in columns] == [0, 0, *[1] * 5]
    assert columns[0].title.string.endswith("no data yet")
    assert len(soup.select(".chart.days .dot")) == 5
    assert "no data yet" in soup.select_one(".legend").get_text()


def test_a_week_in_which_recording_began_is_not_complete() -> None:
    soup = page("/?from=2026-01-01&to=2026-06-28", make_report(realistic(days=40)))
    columns = soup.select(".chart.days g.column")
    assert "absent" in columns[0]["class"]
    begun = [column for column in columns if "absent" not in column["class"]]
    assert "running" in begun[0]["class"]
    assert "(not complete)" in begun[0].title.string


def test_a_full_history_has_no_absent_days() -> None:
    soup = page("/", make_report(realistic()))
    assert soup.select(".absent") == []
    assert "Recording began" not in soup.get_text()


def test_all_metrics_follow_from_the_totals() -> None:
    totals = Totals(
        searches=10,
        searches_clicked=4,
        searches_known=8,
        searches_empty=2,
        searches_answered_unclicked=3,
        search_reciprocal_sum=3.0,
        clicks=6,
        clicks_positioned=5,
        position_sum=10,
        click_reciprocal_sum=2.5,
        impressions=60,
        ratings=5,
        score_sum=40,
        score_square_sum=330,
    )
    values = {each.metric.name: each.now.value for each in read_figures(totals, Totals())}
    assert values == {
        "searches": 10,
        "search_ctr": 0.4,
        "clicks": 6,
        "no_result_rate": 0.25,
        "no_click_rate": 0.6,
        "average_position": 2.0,
        "clicks_per_search": 0.6,
        "item_ctr": 0.1,
        "impressions": 60,
        "answered_no_click_rate": 0.5,
        "mrr_clicks": 0.5,
        "mrr_searches": 0.3,
        "satisfaction": 8.0,
    }


# Periods and filters


@pytest.mark.parametrize(
    ("query", "first_day", "last_day"),
    [
        ("", "2026-06-01", "2026-06-28"),
        ("?period=today", "2026-06-28", "2026-06-28"),
        ("?period=yesterday", "2026-06-27", "2026-06-27"),
        ("?period=7d", "2026-06-22", "2026-06-28"),
        ("?period=90d", "2026-03-31", "2026-06-28"),
        ("?from=2026-02-01&to=2026-02-28", "2026-02-01", "2026-02-28"),
        ("?from=2026-06-20", "2026-06-20", "2026-06-28"),
        ("?from=2026-06-20&to=2027-01-01", "2026-06-20", "2026-06-28"),
    ],
    ids=["default", "today", "yesterday", "7d", "90d", "chosen", "open end", "clipped at today"],
)
def test_a_period_is_read_from_the_url(query: str, first_day: str, last_day: str) -> None:
    period = get(f"/days.json{query}").json["period"]
    assert period == {"first_day": first_day, "last_day": last_day}


def test_the_previous_period_is_as_long_and_ends_the_day_before() -> None:
    reader = realistic()
    get("/?period=7d", make_report(reader))
    before = reader.asked[1]
    assert (before.first_day, before.last_day) == (date(2026, 6, 15), date(2026, 6, 21))


@pytest.mark.parametrize(
    ("query", "first_day", "last_day"),
    [
        ("period=7d", "2026-06-15", "2026-06-21"),
        ("period=7d&compare=previous", "2026-06-15", "2026-06-21"),
        ("period=28d&compare=weekday", "2026-05-04", "2026-05-31"),
        ("period=90d&compare=weekday", "2025-12-30", "2026-03-29"),
        ("period=month&compare=year", "2025-06-01", "2025-06-28"),
        ("from=2024-02-29&to=2024-02-29&compare=year", "2023-02-28", "2023-02-28"),
        ("from=2025-01-01&to=2026-06-01&compare=year", "2023-01-01", "2024-06-01"),
    ],
)
def test_the_days_compared_with_are_read_from_the_url(
    query: str, first_day: str, last_day: str
) -> None:
    reader = realistic()
    reader.begun = date(2020, 1, 1)
    found = get(f"/overview.json?{query}", make_report(reader)).json["previous_period"]
    assert found == {"first_day": first_day, "last_day": last_day}
    assert (str(reader.asked[1].first_day), str(reader.asked[1].last_day)) == (first_day, last_day)


@pytest.mark.parametrize("comparison", [*COMPARISONS])
@given(days=st.integers(1, 732), back=st.integers(0, 5000))
def test_days_compared_with_lie_before_and_fall_on_the_weekdays_they_should(
    comparison: str, days: int, back: int
) -> None:
    last_day = TODAY - timedelta(days=back)
    period = Period(last_day - timedelta(days=days - 1), last_day)
    found = period.compared(comparison)
    if found is None:
        assert comparison == "none"
        return
    assert found.last_day < period.first_day
    assert abs(found.days - period.days) <= (2 if comparison == "year" else 0)
    if comparison == "weekday":
        assert found.first_day.weekday() == period.first_day.weekday()


def test_without_a_comparison_nothing_is_compared() -> None:
    reader = realistic()
    report = make_report(reader)
    soup = page("/?period=7d&compare=none", report)
    assert (soup.select(".delta"), soup.select(".ghost")) == ([], [])
    bundle = get("/overview.json?compare=none", report).json
    assert bundle["previous_period"] is None
    assert bundle["metrics"]["searches"]["change"] is None


def test_links_and_forms_keep_the_comparison() -> None:
    soup = page("/queries?compare=year&module=BWEB")
    inside = [a["href"] for a in soup.select("nav.tabs a, .presets a, .steps a, .chip a, tbody a")]
    assert [href for href in inside if "compare=year" not in href] == []
    forms = soup.select("form[method=get]")
    assert all(form.select_one("[name=compare][value=year]") for form in forms)


def test_the_days_compared_with_are_a_thin_line() -> None:
    chart = page("/?period=7d").select_one(".chart.days")
    assert len(chart.select(".ghost")) == 6
    assert "15 Jun 2026" in chart.select_one(".column title").string


@pytest.mark.parametrize(
    ("day", "last_month"),
    [("2026-06-28", ("2026-05-01", "2026-05-31")), ("2026-03-01", ("2026-02-01", "2026-02-28"))],
)
def test_months_are_calendar_months(day: str, last_month: tuple[str, str]) -> None:
    today = date.fromisoformat(day)
    assert named_period("month", today)[:2] == (today.replace(day=1), today)
    assert tuple(map(str, named_period("last-month", today)[:2])) == last_month


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("?from=2026-03-28&to=2026-03-30", "29 Mar 2026 has 23 hours"),
        ("?from=2025-10-26&to=2025-10-26", "26 Oct 2025 has 25 hours"),
    ],
)
def test_days_that_have_not_24_hours_are_explained(query: str, sentence: str) -> None:
    assert sentence in page(f"/days{query}", make_report(realistic(days=400))).get_text()


def test_most_days_have_24_hours() -> None:
    assert "hours:" not in page("/?period=7d").select_one(".period").get_text()


def test_the_period_before_and_after_are_links() -> None:
    soup = page("/queries?from=2026-06-08&to=2026-06-14&module=BWEB")
    assert soup.select_one("a[rel=prev]")["href"] == (
        "/_clicks/report/queries?module=BWEB&from=2026-06-01&to=2026-06-07"
    )
    assert soup.select_one("a[rel=next]")["href"] == (
        "/_clicks/report/queries?module=BWEB&from=2026-06-15&to=2026-06-21"
    )


def test_nothing_comes_after_today() -> None:
    assert not page("/").select("a[rel=next]")


def test_the_next_period_keeps_its_length_at_today() -> None:
    period = named_period("yesterday", TODAY)._replace(first_day=TODAY - timedelta(days=7))
    after = period.after(TODAY)
    assert after is not None
    assert (after.last_day, after.days) == (TODAY, period.days)


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("period=year", "period is one of"),
        ("from=2026-13-01", "from is not a day"),
        ("from=20260101", "from is not a day"),
        ("from=2026-06-10&to=2026-06-01", "from is later than to"),
        ("from=2026-07-01&to=2026-07-02", "in the future"),
        ("from=1999-01-01&to=2026-01-01", "before the year 2000"),
        ("from=2020-01-01&to=2026-01-01", "at most"),
        ("to=2026-06-01", "to needs from"),
        ("period=7d&from=2026-06-01", "not both"),
        ("site=nobody", "no site of this name"),
        ("period=7d&period=28d", "more than once"),
        ("limit=0", "limit is a whole number"),
        ("limit=1001", "limit is a whole number"),
        ("limit=1e9", "limit is a whole number"),
        ("device=toaster", "device is one of"),
        ("module=%00", "plain text"),
        ("sort=count;DROP", "sort is the name"),
        ("sort=visitor", "sort is one of"),
        ("compare=decade", "compare is one of"),
    ],
)
def test_a_bad_value_gives_400_with_a_sentence(query: str, sentence: str) -> None:
    answer = get(f"/queries.json?{query}")
    assert answer.status_code == 400
    assert sentence in answer.json["error"]


def test_a_bad_value_is_not_repeated_on_the_page() -> None:
    answer = get("/?period=<script>alert(1)</script>&site=<b>x</b>")
    assert answer.status_code == 400
    assert "alert" not in answer.text
    assert "<b>x" not in answer.text


def test_filters_are_chips_with_a_way_to_remove_them() -> None:
    chips = page("/queries?module=BWEB&device=mobile&period=7d").select(".chip")
    assert [chip.select_one("bdi").string for chip in chips] == ["BWEB", "mobile"]
    assert chips[0].select_one("a")["href"] == ("/_clicks/report/queries?period=7d&device=mobile")


def test_filters_reach_the_store() -> None:
    reader = realistic()
    get("/?site=default&module=BWEB&device=mobile&robots=1", make_report(reader))
    asked = reader.asked[0]
    assert (asked.site, asked.module, asked.device, asked.robots) == (
        "default",
        "BWEB",
        "mobile",
        True,
    )


FACETED = {
    name: [
        FacetRow(value, 60, 30, 60, 3, 40, 500, 1.5),
        FacetRow("", 40, 10, 40, 1, 12, 300, None),
    ]
    for name, value in {
        "device": "mobile",
        "language": "de",
        "profile": "docs",
        "source": "page",
        "trust": "signed",
    }.items()
}


def test_the_filter_bar_offers_the_values_that_exist() -> None:
    reader = realistic()
    reader.facets = FACETED
    form = page("/queries?period=7d&language=fr", make_report(reader)).select_one(".filters form")
    offered = {
        select["name"]: [option["value"] for option in select.select("option")]
        for select in form.select("select")
    }
    assert offered == {
        "module": ["", "BWEB", "BOOS", "XYZ"],
        "device": ["", "mobile"],
        "language": ["", "de", "fr"],
        "profile": ["", "docs"],
        "source": ["", "page"],
        "trust": ["", "signed"],
    }
    assert form.select_one("option[selected]")["value"] == "fr"
    hidden = {field["name"]: field["value"] for field in form.select("[type=hidden]")}
    assert hidden == {"period": "7d"}


def test_a_value_of_a_facet_narrows_the_report_to_itself() -> None:
    reader = realistic()
    reader.facets = FACETED
    soup = page("/devices?period=7d", make_report(reader))
    assert soup.select_one("tbody a")["href"] == "/_clicks/report/?period=7d&device=mobile"
    assert texts(soup, "tbody .none") == ["not stated"]


def test_the_shares_of_a_facet_are_of_all_its_searches() -> None:
    reader = realistic()
    reader.facets = FACETED
    rows = get("/languages.json", make_report(reader)).json["rows"]
    assert [row["share_of_searches"]["value"] for row in rows] == [0.6, 0.4]


def test_the_breakdown_has_all_facets() -> None:
    assert len(page("/breakdown").select("main .card")) == len(FACET_PANELS) == 5


NARROWED = {
    "module": "BWEB",
    "device": "mobile",
    "language": "de",
    "profile": "docs",
    "source": "page",
    "trust": "signed",
    "q": "tax",
    "robots": "1",
}


@pytest.mark.parametrize("facet", [*NARROWED])
@pytest.mark.parametrize("name", [*PANELS])
def test_a_panel_is_narrowed_or_says_that_it_is_not(name: str, facet: str) -> None:
    reader, panel = realistic(), PANELS[name]
    noted = Noting(reader)
    address = named(name, ".json")
    query = f"{'&' if '?' in address else '?'}{facet}={NARROWED[facet]}"
    answer = get(address + query, make_report(noted)).json
    if facet in panel.ignored([facet]):
        assert answer["ignored_filters"] == {name: [facet]}
        return
    assert answer["ignored_filters"] == {}
    if name == "live":  # its tail is narrowed in the report itself
        return
    field_name = "text" if facet == "q" else facet
    value = True if facet == "robots" else NARROWED[facet]
    assert value in {getattr(asked, field_name) for asked in noted.filters}


def test_what_a_filter_does_not_narrow_says_so_on_its_page() -> None:
    note = page("/excluded?device=mobile").select_one(".card .told").get_text()
    assert note == "Not narrowed by device; here only site can do that."
    assert not page("/excluded?site=default").select(".card .told")


def test_a_number_that_is_not_kept_under_a_filter_is_a_dash_with_its_reason() -> None:
    reader = realistic()
    reader.results = [replace(row, impressions=None) for row in reader.results]
    soup = page("/results?device=mobile&language=de", make_report(reader))
    assert texts(soup, ".card .told") == ["– for Impressions, CTR: not kept by device, language."]
    assert texts(soup, "tbody tr:first-child td")[1:3] == [DASH, DASH]


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("?module=BWEB", "A search belongs to no module"),
        ("?robots=1", "numbers of robots alone"),
        ("?q=tax", "Impressions are not kept by the text"),
    ],
)
def test_a_filter_says_what_its_numbers_do_not(query: str, sentence: str) -> None:
    assert sentence in page(f"/{query}").select_one(".narrow-by").get_text()
    assert any(sentence in note for note in get(f"/days.json{query}").json["notes"])


def test_several_sites_get_a_selector() -> None:
    reader = realistic()
    reader.handles = ["a.example", "b.example"]
    options = page("/?site=b.example", make_report(reader)).select("#site option")
    assert [option["value"] for option in options] == ["", "a.example", "b.example", "default"]
    assert [option["value"] for option in options if option.has_attr("selected")] == ["b.example"]


def test_an_empty_field_of_a_form_is_no_filter() -> None:
    question = read_question({"site": [""], "from": [""], "to": [""]}, today=TODAY)
    assert question.facets == {}


def test_a_question_written_as_a_query_string_asks_the_same_again() -> None:
    arguments = {"period": ["7d"], "module": ["A-1"], "language": ["de & fr"], "robots": ["1"]}
    question = read_question(arguments, today=TODAY)
    assert question.query() == "?period=7d&module=A-1&language=de+%26+fr&robots=1"


def test_period_and_days_together_are_refused() -> None:
    with pytest.raises(BadFilter):
        read_question({"period": ["7d"], "to": ["2026-01-01"]}, today=TODAY)


# Nothing to show


def test_no_events_ever_says_how_to_check_the_chain() -> None:
    health = {**HEALTH, "received": 0}
    soup = page("/", make_report(MemoryReader(), health=health))
    assert soup.h1.string == "No events yet"
    assert "data-click-module" in soup.get_text()


def test_none_in_this_period_links_to_the_last_one_that_has_some() -> None:
    reader = MemoryReader(days=[DayRow(date(2026, 3, 5), 4, 1, 0, 1, 30)])
    soup = page("/?period=7d", make_report(reader))
    assert soup.h1.string == "Nothing in this period"
    assert soup.select_one("a.button")["href"].endswith("?from=2026-02-27&to=2026-03-05")


def test_filters_that_match_nothing_can_be_cleared() -> None:
    soup = page("/?module=NONE&period=7d")
    assert soup.h1.string == "Nothing matches these filters"
    assert soup.select_one("a.button")["href"] == "/_clicks/report/?period=7d"


def test_a_panel_without_rows_says_so_while_others_have_some() -> None:
    reader = realistic()
    reader.queries = []
    assert texts(page("/empty", make_report(reader)), ".nothing") == [
        "Every search with a known number of hits found something."
    ]


def test_files_are_there_without_events() -> None:
    report = make_report(MemoryReader())
    assert get("/queries.json", report).json["rows"] == []
    assert get("/overview.json", report).json["metrics"]["search_ctr"]["value"] is None
    assert get("/queries.csv", report).text.count("\r\n") == 1


def broken() -> Any:
    raise StoreError("the disk is away")


def test_a_broken_store_is_503_with_the_reason() -> None:
    soup = page("/", make_report(open_reader=broken), status=503)
    assert "The disk is away" in soup.get_text()


def test_a_broken_store_says_so_in_json() -> None:
    answer = get("/queries.json", make_report(open_reader=broken))
    assert (answer.status_code, answer.json) == (503, {"error": "the disk is away"})


def test_an_unforeseen_error_says_nothing_but_a_name() -> None:
    def fails() -> Any:
        raise RuntimeError("/home/secret/path <b>")

    answer = get("/", make_report(open_reader=fails))
    assert answer.status_code == 500
    assert "secret" not in answer.text


# Hostile text

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg/onload=alert(1)>",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)//http://",
    "data:text/html,<script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "</textarea></style></desc></svg><script>alert(1)</script>",
    "{{ 7*7 }}{% raw %}",
    "http://a.example/\"onmouseover='alert(1)'",
    "https://a.example/<b id=xss>",
    "\u202egnp.exe",
    "\ud800 lone",
    "a\x00b",
    "&lt;b&gt;",
    "</script><b id=xss>",
]


def hostile(text: str) -> MemoryReader:
    """Return a reader with *text* wherever a stranger's text can stand."""
    return MemoryReader(
        days=[DayRow(TODAY, 9, 1, 2, 3, 30)],
        queries=[QueryRow(text, 5, 0, 5, 1, 0, 5, None), QueryRow(text, 5, 0, 5, 0, 0, 5, None)],
        results=[ResultRow(text, text, 3, 9, 1.0)],
        position_rows=[PositionRow(text, 1, 1, 9, 3)],
        module_rows=[ModuleRow(text, 9, 3, 1.0)],
        tail=[LiveRow(1, text, text, text, text, 1, text, text)],
        excluded={f"click.{text}": 3},
        handles=["default", text],
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text_on_every_page(text: str) -> None:
    report = make_report(hostile(text))
    for path in ALL_PAGES:
        soup = page(path, report)
        assert not soup.select("#xss, img, style, [onload], [onerror], [onmouseover]")
        assert [script["src"] for script in soup.select("script")] == ["/_clicks/report.js"]
        for link in soup.select("a[href]"):
            assert link["href"].startswith(("/_clicks/report", "http://", "https://", "#main"))


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_harmless_in_json(text: str) -> None:
    report = make_report(hostile(text))
    answer = get("/overview.json", report)
    assert b"<" not in answer.data
    assert json.loads(answer.data)["queries"][0]["query"] == text


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+1",
        "-1+2",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        "\0=1",
        "\uff1d1",
        "\uff0b1",
        "\uff0d1",
        "\uff201",
        '"=1',
        " =1",
    ],
)
def test_a_formula_in_a_csv_file_is_text(text: str) -> None:
    answer = get("/queries.csv", make_report(hostile(text)))
    record = next(csv.DictReader(io.StringIO(answer.data.decode(), newline="")))
    assert record["query"] == f"'{text}"


def test_plain_text_and_numbers_in_a_csv_file_stay_as_they_are() -> None:
    answer = get("/queries.csv", make_report(hostile('a "quoted", text')))
    assert answer.data.split(b"\r\n")[1].startswith(b'"a ""quoted"", text",5,0,0.0,0.0,')


def test_negative_numbers_in_a_csv_file_stay_numbers() -> None:
    reader = MemoryReader(
        days=[DayRow(TODAY - timedelta(days=1), 100, 9, 0, 9, 9), DayRow(TODAY, 50, 9, 0, 9, 9)]
    )
    answer = get("/overview.csv?period=today", make_report(reader))
    records = csv.DictReader(io.StringIO(answer.text))
    assert next(records)["change"] == "-0.5"


def test_a_csv_file_is_a_download() -> None:
    disposition = get("/queries.csv?period=7d").headers["Content-Disposition"]
    assert disposition == 'attachment; filename="clickmw-queries-2026-06-22-2026-06-28.csv"'


# Headers and routes


@pytest.mark.parametrize("access", ["open", "closed", "password"])
@pytest.mark.parametrize("path", ROUTES)
def test_every_answer_carries_the_headers(path: str, access: str) -> None:
    settings = {
        "open": Settings(report_auth=lambda environ: True),
        "closed": Settings(),
        "password": Settings(admin_password=PASSWORD),
    }[access]
    answer = get(path, make_report(settings=settings))
    assert {name: answer.headers.get(name) for name in HEADERS} == dict(HEADERS)


def test_the_root_without_a_slash_is_sent_to_the_one_with_it() -> None:
    answer = get("?period=7d")
    assert (answer.status_code, answer.location) == (308, "/_clicks/report/?period=7d")


@pytest.mark.parametrize("path", ["/nothing", "/queries.xml", "/queries/x", "/Queries", "x"])
def test_unknown_pages_are_404(path: str) -> None:
    assert get(path).status_code == 404


def test_a_path_is_not_repeated_on_the_page() -> None:
    answer = get("/<script>alert(1)</script>")
    assert answer.status_code == 404
    assert "alert" not in answer.text


def test_other_methods_are_refused() -> None:
    answer = Client(make_report()).post("/_clicks/report/queries")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")


def test_head_has_no_body() -> None:
    answer = Client(make_report()).head("/_clicks/report/")
    assert (answer.status_code, answer.data) == (200, b"")


def test_links_carry_the_place_where_the_app_is_mounted() -> None:
    answer = Client(make_report()).get(
        "/_clicks/report/",
        base_url="http://localhost/app",
        environ_overrides={"SCRIPT_NAME": "/app"},
    )
    soup = BeautifulSoup(answer.text, "html.parser")
    assert soup.select_one("link[rel=stylesheet]")["href"] == "/app/_clicks/report.css"
    assert all(a["href"].startswith("/app/_clicks/report/") for a in soup.select("nav a"))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", "overview.json"),
        ("/queries?period=7d&sort=-clicks", "queries.json?period=7d&sort=-clicks"),
        ("/low-ctr?below_percent=30", "low-ctr.json?below_percent=30"),
    ],
)
def test_the_foot_of_a_page_leads_to_its_own_numbers(path: str, expected: str) -> None:
    link = page(path, make_report()).select_one("footer .note a:-soup-contains('JSON')")
    assert link is not None
    assert str(link["href"]).endswith(f"/report/{expected}")
