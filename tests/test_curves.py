"""Where results are clicked, module by module: twelve bars, rank CTR, and each module's own past."""

from __future__ import annotations

import csv
import io
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import count
from random import Random
from typing import Any

import pytest
from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st
from webtest import TestApp

from clickmw.catalog import PANELS
from clickmw.curves import BARS, CURVES, HISTORY_DAYS
from clickmw.events import Click, Event, Search, Shown
from clickmw.expectation import Ratio
from clickmw.panels import Look, Row, sort_rows
from clickmw.stores.base import (
    POSITION_BUCKETS,
    Filter,
    ModuleRow,
    PositionRow,
)

TODAY = datetime.now(UTC).date()
FIRST_DAY = TODAY - timedelta(days=27)
NUMBERS = count(1)


@dataclass
class Counts:
    """What a store says of the period (``now``) and of all days before it (``past``)."""

    now: Sequence[PositionRow] = ()
    past: Sequence[PositionRow] = ()
    unplaced: int = 0
    asked_past: Filter | None = None

    def positions(self, asked: Filter) -> Sequence[PositionRow]:
        if asked.last_day >= FIRST_DAY:
            return self.now
        self.asked_past = asked
        return self.past

    def modules(self, asked: Filter) -> list[ModuleRow]:
        codes = sorted({row.module_code for row in self.now})
        return [
            ModuleRow(
                code,
                sum(row.impressions or 0 for row in self.now if row.module_code == code),
                sum(row.clicks for row in self.now if row.module_code == code) + self.unplaced,
                None,
            )
            for code in codes
        ]


def look(reader: Any, **filters: Any) -> Look:
    asked = Filter(first_day=FIRST_DAY, last_day=TODAY, **filters)
    before = Filter(
        first_day=FIRST_DAY - timedelta(days=28), last_day=FIRST_DAY - timedelta(days=1)
    )
    return Look(reader, asked, 100, {"BWEB": "Web Results"}, TODAY, before)


def rows(name: str, reader: Any, **filters: Any) -> list[Row]:
    return PANELS[name].rows(look(reader, **filters))


def row(position: int, impressions: int | None, clicks: int, module: str = "BWEB") -> PositionRow:
    return PositionRow(module, position, position, impressions, clicks)


def coec(reader: Any) -> Ratio:
    found: Ratio = rows("modules", reader)[0]["coec"]
    return found


# The histogram


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["BWEB", "BOOS", "VIDS"]),
            st.sampled_from(POSITION_BUCKETS),
            st.integers(0, 1000),
        ),
        unique_by=lambda each: each[:2],
    )
)
def test_a_module_has_exactly_twelve_bars_with_all_its_placed_clicks(
    counts: list[tuple[str, tuple[int, int | None], int]],
) -> None:
    reader = Counts([PositionRow(code, *place, 1000, clicks) for code, place, clicks in counts])
    found = rows("histogram", reader)
    for code in {each["module_code"] for each in found}:
        bars = [each for each in found if each["module_code"] == code]
        assert [(each["first"], each["last"]) for each in bars] == list(BARS)
        assert sum(each["clicks"] for each in bars) == sum(c for m, _, c in counts if m == code)
    assert {each["module_code"] for each in found} == {m for m, _, c in counts if c}


def test_positions_from_eleven_on_share_two_bars() -> None:
    reader = Counts(
        [row(10, 9, 1), row(11, 9, 2), row(20, 9, 3), PositionRow("BWEB", 21, 30, 9, 4),
         PositionRow("BWEB", 101, None, 9, 5)]
    )  # fmt: skip
    bars = {each["position"]: each["clicks"] for each in rows("histogram", reader)}
    assert [bars["10"], bars["11–20"], bars["21+"]] == [1, 5, 9]
    assert len(bars) == 12


def test_the_module_with_most_clicks_comes_first() -> None:
    reader = Counts([row(1, 9, 2, "AAA"), row(1, 9, 5, "ZZZ")])
    assert [each["module_code"] for each in rows("histogram", reader)[::12]] == ["ZZZ", "AAA"]


# A module and its own past


def test_a_module_that_is_clicked_twice_as_often_as_before_has_two() -> None:
    past = [row(1, 10_000, 2_000), row(2, 10_000, 1_000)]
    found = coec(Counts([row(1, 500, 200), row(2, 2_000, 400)], past))
    assert found.value == pytest.approx(2.0)
    assert (found.numerator, found.denominator) == (600, 300)
    assert found.low is not None
    assert found.low > 1


def test_a_module_that_only_moved_down_is_as_before() -> None:
    past = [row(1, 10_000, 3_000), row(10, 10_000, 200)]
    assert coec(Counts([row(1, 100, 30), row(10, 5_000, 100)], past)).value == pytest.approx(1.0)


@pytest.mark.parametrize(
    "past",
    [[], [row(1, 500, 50, "BOOS")], [row(9, 500, 50)], [row(1, None, 50)], [row(1, 500, 0)]],
    ids=["no past", "another module's", "at other positions", "not kept", "never clicked"],
)
def test_without_a_past_to_compare_with_there_is_no_ratio(past: list[PositionRow]) -> None:
    found = coec(Counts([row(1, 100, 10)], past))
    assert (found.value, found.low, found.high) == (None, None, None)


def test_positions_that_the_past_did_not_show_are_left_out_of_both() -> None:
    found = coec(Counts([row(1, 100, 20), row(2, 100, 90)], [row(1, 1_000, 100)]))
    assert found[:3] == (20, 10, 2.0)


def test_the_past_is_ninety_days_under_the_same_filter() -> None:
    reader = Counts([row(1, 9, 1)])
    rows("modules", reader, device="mobile", site="a.example")
    past = reader.asked_past
    assert past is not None
    assert (past.last_day - past.first_day).days + 1 == HISTORY_DAYS == 90
    assert past.last_day == FIRST_DAY - timedelta(days=1)
    assert (past.device, past.site) == ("mobile", "a.example")


def test_few_clicks_of_the_past_leave_a_wide_interval() -> None:
    now = [row(1, 10_000, 1_000)]
    short, long = coec(Counts(now, [row(1, 50, 5)])), coec(Counts(now, [row(1, 50_000, 5_000)]))
    assert short.value == long.value == pytest.approx(1.0)
    assert (long.low or 0) > (short.low or 0)
    assert (long.high or 0) < (short.high or 0)


def world(seed: int, times: float) -> Ratio:
    """Return COEC of a module whose results are liked *times* as much as before."""
    draw = Random(seed)
    rates = {at: 0.3 * at**-0.8 for at in range(1, 11)}

    def seen(impressions: int, times: float) -> list[PositionRow]:
        counts = {at: round(impressions * draw.uniform(0.5, 1.5)) for at in rates}
        return [
            row(at, n, sum(draw.random() < rates[at] * times for _ in range(n)))
            for at, n in counts.items()
        ]

    past = seen(200, 1.0)
    return coec(Counts(seen(120, times), past))


@pytest.mark.parametrize("times", [0.6, 1.0, 1.5], ids=["worse", "as before", "better"])
def test_the_interval_covers_what_became_of_a_module(times: float) -> None:
    found = [world(seed, times) for seed in range(200)]
    covering = sum((each.low or 0) <= times <= (each.high or 0) for each in found)
    assert covering >= 0.93 * len(found)


def test_clicks_without_a_position_are_told_apart() -> None:
    found = rows("modules", Counts([row(1, 100, 10)], unplaced=3))[0]
    assert (found["clicks"], found["clicks_unplaced"]) == (13, 3)


def test_rows_are_sorted_by_a_ratio_with_unknown_ones_last() -> None:
    reader = Counts(
        [row(1, 100, 10, "A"), row(1, 100, 30, "B"), row(1, 100, 20, "C")],
        [row(1, 1_000, 100, "A"), row(1, 1_000, 100, "B")],
    )
    falling = sort_rows(rows("modules", reader), "-coec")
    assert [each["module_code"] for each in falling] == ["B", "A", "C"]


# A real store, its pages and files


def events_of(day: date, searches: int, clicked: dict[tuple[str, int], int]) -> Iterator[Event]:
    """Yield searches that show ten web results and two best bets; (module, position) → clicks."""
    left = dict(clicked)
    for _ in range(searches):
        serial = next(NUMBERS)
        now = int(datetime.combine(day, time(12), UTC).timestamp() * 1000) + serial
        query_id = urlsafe_b64encode(now.to_bytes(6) + serial.to_bytes(6)).decode()
        who: dict[str, Any] = {"site": "default", "visitor": f"{serial:016x}", "device": "desktop"}
        shown = [
            Shown(f"https://example.org/{module}/{at}", at, module)
            for module, most in (("BWEB", 10), ("BOOS", 2))
            for at in range(1, most + 1)
        ]
        yield Search(
            now,
            query_id=query_id,
            query="tax form",
            impressions=tuple(shown),
            total_hits=50,
            **who,
        )
        for (module, at), clicks in left.items():
            if clicks:
                left[module, at] = clicks - 1
                url = f"https://example.org/{module}/{at}"
                yield Click(now + 1, url=url, position=at or None, query_id=query_id,
                            module_code=module, **who)  # fmt: skip


PAST = {("BWEB", 1): 40, ("BWEB", 3): 10, ("BOOS", 1): 30, ("BOOS", 2): 5}
NOW = {("BWEB", 1): 20, ("BWEB", 3): 5, ("BOOS", 1): 50, ("BOOS", 2): 5, ("BWEB", 0): 4}


@pytest.fixture
def site(
    clicks_at: Callable[..., Any], browser_of: Callable[..., TestApp], feed_of: Callable[..., Any]
) -> TestApp:
    """A site whose report everybody may see: 100 searches, 200 more in the past."""
    clicks = clicks_at(report_auth=lambda _environ: True)
    clicks.door.store.migrate()
    feed = feed_of(clicks.door.store)
    feed(*events_of(FIRST_DAY - timedelta(days=60), 200, PAST))
    feed(*events_of(TODAY - timedelta(days=2), 100, NOW))
    return browser_of(clicks)


def told(site: TestApp, name: str) -> list[Row]:
    found: list[Row] = site.get(f"/_clicks/report/{name}.json").json["rows"]
    return found


def test_modules_of_a_real_store_are_measured_by_their_own_past(site: TestApp) -> None:
    found = {each["module_code"]: each for each in told(site, "modules")}
    web, best = found["BWEB"], found["BOOS"]
    # BWEB: 100 impressions each at rank 1 (40 / 200 before) and rank 3 (10 / 200): 25 expected.
    assert (web["coec"]["numerator"], web["coec"]["denominator"]) == (25, pytest.approx(25))
    assert (best["coec"]["numerator"], best["coec"]["denominator"]) == (55, pytest.approx(17.5))
    assert best["coec"]["low"] > 1
    assert (web["clicks"], web["clicks_unplaced"]) == (29, 4)


def test_the_places_are_three_panels_and_what_has_no_position(site: TestApp) -> None:
    page = site.get("/_clicks/report/places.json").json
    assert {"modules", "histogram", "positions"} <= page.keys()
    assert (page["facts"]["clicks"], page["facts"]["clicks_unplaced"]) == (84, 4)
    assert "4 of 84 clicks have no known position" in " ".join(
        site.get("/_clicks/report/places").html.get_text(" ").split()
    )


@pytest.mark.parametrize("name", [panel.name for panel in CURVES])
def test_the_page_of_a_curve_and_its_files_say_the_same(site: TestApp, name: str) -> None:
    rows = told(site, name)
    records = list(csv.DictReader(io.StringIO(site.get(f"/_clicks/report/{name}.csv").text)))
    soup = BeautifulSoup(site.get(f"/_clicks/report/{name}").text, "html.parser")
    lines = soup.select(f"table.rows-{name} tbody tr")
    assert len(rows) == len(records) == len(lines) > 0
    for told_row, record, line in zip(rows, records, lines, strict=True):
        assert record["module_code"] == told_row["module_code"]
        assert record["clicks"] == str(told_row["clicks"])
        assert f"{told_row['clicks']:,}" in [cell.get_text() for cell in line.select("td")]


def test_a_ratio_takes_three_columns_of_the_file(site: TestApp) -> None:
    records = csv.DictReader(io.StringIO(site.get("/_clicks/report/modules.csv").text))
    ratios = {each["module_code"]: each for each in told(site, "modules")}
    for record in records:
        ratio = ratios[record["module_code"]]["coec"]
        names = {"coec": "value", "coec_low": "low", "coec_high": "high"}
        assert {each: float(record[each]) for each in names} == {
            each: ratio[name] for each, name in names.items()
        }


def test_a_ratio_stands_with_its_interval_in_every_table(site: TestApp) -> None:
    for path in ("places", "modules"):
        cell = site.get(f"/_clicks/report/{path}").html.select_one(".rows-modules td.ratio")
        assert cell is not None
        assert "×" in cell.get_text()
        assert cell.select_one(".interval") is not None


def test_every_chart_of_the_places_has_a_title_and_a_table(site: TestApp) -> None:
    soup = BeautifulSoup(site.get("/_clicks/report/places").text, "html.parser")
    for name in ("modules", "histogram", "positions"):
        card = soup.select_one(f".card-{name}")
        assert card is not None
        assert all(plot.find("title").get_text() for plot in card.select("svg.plot"))
        assert card.select("svg.plot")
        assert card.select(f"table.rows-{name} tbody tr")


def test_a_card_without_a_chart_has_no_empty_half(site: TestApp) -> None:
    card = site.get("/_clicks/report/places?q=tax").html.select_one(".card-modules")
    assert card is not None
    assert card.select("table.rows-modules tbody tr")
    assert not card.select(".pair, svg.plot")


def test_programs_are_told_that_a_ratio_is_a_rate(site: TestApp) -> None:
    schemas = site.get("/_clicks/api/v1/schema").json["components"]["schemas"]
    cells = schemas["ModulesRow"]["properties"]
    assert cells["coec"] == cells["item_ctr"] == {"$ref": "#/components/schemas/Rate"}


def test_under_a_text_there_is_no_ctr_and_no_ratio(site: TestApp) -> None:
    found = site.get("/_clicks/report/modules.json?q=tax").json["rows"]
    assert {each["module_code"] for each in found} == {"BWEB", "BOOS"}
    assert {each["item_ctr"] for each in found} == {None}
    assert {each["coec"]["value"] for each in found} == {None}
    assert site.get("/_clicks/report/places?q=tax").status_code == 200
