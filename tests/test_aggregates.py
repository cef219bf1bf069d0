"""Clicks of each day and advertiser: what is asked, who sees what, and the walk over the pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickmw.aggregates import ApiError, list_clicks, publisher_of
from clickmw.keyring import Holder
from clickmw.settings import Settings
from clickmw.sites import Publisher, Site, Sites
from clickmw.stores.base import AdvertiserRow

ADMIN = Holder("admin", None)
MARCH = {"start_date": "2026-03-01", "end_date": "2026-03-31"}
ALPHA = Site(
    handle="alpha", hosts=("alpha.example",), publisher=Publisher(id=45, name="Alpha Inc.")
)
BETA = Site(handle="beta", hosts=("beta.example",), name="The Beta")
ALSO_ALPHA = Site(handle="also", hosts=("also.example",), publisher=Publisher(id=45, name="Alpha"))


def row(site: str, day: date, advertiser: int, clicks: int = 1) -> AdvertiserRow:
    name = f"a{advertiser}.example"
    return AdvertiserRow(day, site, advertiser, name, name, None, None, clicks)


@dataclass
class Numbers:
    """A desk whose store is a list of rows, read as the contract of stores says."""

    rows: Sequence[AdvertiserRow] = ()
    sites: Sequence[Site] = (ALPHA, BETA, ALSO_ALPHA)
    read: list[tuple[int, int]] = field(default_factory=list)
    open_readers: int = 0

    @property
    def settings(self) -> Settings:
        return Settings(secret="s" * 32, sites=Sites(self.sites))

    @property
    def open_reader(self) -> Callable[[], Any]:
        self.open_readers += 1
        return lambda: self

    def close(self) -> None:
        self.open_readers -= 1

    def daily_clicks(
        self,
        first_day: date,
        last_day: date,
        sites: Sequence[str] | None,
        *,
        limit: int,
        offset: int = 0,
    ) -> tuple[int, list[AdvertiserRow]]:
        self.read.append((limit, offset))
        found = [
            each
            for each in self.rows
            if first_day <= each.day <= last_day and (sites is None or each.site in sites)
        ]
        found.sort(key=lambda r: (-r.day.toordinal(), -r.clicks, r.advertiser_name, r.site))
        return len(found), found[offset : offset + limit]


def ask(desk: Numbers, holder: Holder = ADMIN, **asked: object) -> dict[str, Any]:
    return list_clicks(desk, holder, {**MARCH, **asked})


def refusal(asked: Mapping[str, object], holder: Holder = ADMIN) -> tuple[int, str, str]:
    with pytest.raises(ApiError) as caught:
        list_clicks(Numbers(), holder, asked)
    return caught.value.status, caught.value.code, str(caught.value)


# -- the answer --------------------------------------------------------------------------------


def test_the_answer_is_the_documented_one_with_its_keys_in_order() -> None:
    """The example of hienergy's documentation; SQL has answered, so used_searchkick is false."""
    site = Site(handle="p", publisher=Publisher(id=45, name="Example Publisher"))
    day = date(2026, 3, 31)
    clicks = AdvertiserRow(day, "p", 123, "Alpha Store", "alpha-store", 7, "Awin", 120)
    answer = ask(Numbers([clicks], [site]), Holder("read", "p"))

    assert list(answer) == ["data", "meta"]
    assert list(answer["data"][0].items()) == [
        ("advertiser_id", 123),
        ("advertiser_name", "Alpha Store"),
        ("advertiser_slug", "alpha-store"),
        ("publisher_id", 45),
        ("publisher_name", "Example Publisher"),
        ("network_id", 7),
        ("network_name", "Awin"),
        ("click_date", "2026-03-31"),
        ("click_count", 120),
    ]
    assert list(answer["meta"].items()) == [
        ("current_page", 1),
        ("next_page", None),
        ("prev_page", None),
        ("total_pages", 1),
        ("total_count", 1),
        ("per_page", 100),
        ("used_searchkick", False),
        ("start_date", "2026-03-01"),
        ("end_date", "2026-03-31"),
        ("days", 31),
        ("publisher_id", 45),
    ]


def test_without_clicks_there_are_no_pages() -> None:
    meta = ask(Numbers())["meta"]

    assert (meta["total_count"], meta["total_pages"]) == (0, 0)
    assert (meta["current_page"], meta["next_page"], meta["prev_page"]) == (1, None, None)


def test_the_store_is_closed_after_each_answer() -> None:
    desk = Numbers()
    ask(desk)

    assert desk.open_readers == 0


# -- days --------------------------------------------------------------------------------------

REQUIRED = "start_date and end_date are required, written as YYYY-MM-DD"
INVERTED = "end_date must be on or after start_date"
TOO_LONG = "Date range cannot exceed 90 days"


@pytest.mark.parametrize(
    ("first", "last", "days"),
    [
        ("2026-03-01", "2026-03-31", 31),
        ("2026-01-01", "2026-03-31", 90),
        ("2026-03-01", "2026-03-01", 1),
        ("2024-02-28", "2024-03-01", 3),
        ("0001-01-01", "0001-01-02", 2),
        ("9999-12-01", "9999-12-31", 31),
    ],
)
def test_both_days_belong_to_the_window(first: str, last: str, days: int) -> None:
    assert ask(Numbers(), start_date=first, end_date=last)["meta"]["days"] == days


@pytest.mark.parametrize(
    ("first", "last", "message"),
    [
        (None, None, REQUIRED),
        ("2026-03-01", None, REQUIRED),
        (None, "2026-03-01", REQUIRED),
        ("", "2026-03-01", REQUIRED),
        ("2026-03-02", "2026-03-01", INVERTED),
        ("2026-01-01", "2026-04-01", TOO_LONG),
        ("0001-01-01", "9999-12-31", TOO_LONG),
        ("2026-02-30", "2026-03-01", "start_date is no day; write it as YYYY-MM-DD"),
        ("03/01/2026", "2026-03-01", "start_date is no day; write it as YYYY-MM-DD"),
        ("20260301", "2026-03-01", "start_date is no day; write it as YYYY-MM-DD"),
        ("2026-03-01", "2026-W10-1", "end_date is no day; write it as YYYY-MM-DD"),
        ("2026-03-01", "2026-03-01T00:00", "end_date is no day; write it as YYYY-MM-DD"),
        ("2026-03-01", "2026-03-01\n", "end_date is no day; write it as YYYY-MM-DD"),
        ("2026-03-01", "2026-03-0\u0661", "end_date is no day; write it as YYYY-MM-DD"),
        ("0000-01-01", "2026-03-01", "start_date is no day; write it as YYYY-MM-DD"),
        (20260301, "2026-03-01", "start_date is no day; write it as YYYY-MM-DD"),
        (["2026-03-01"], "2026-03-01", "start_date is no day; write it as YYYY-MM-DD"),
    ],
)
def test_days_that_cannot_be_answered_are_refused(
    first: object, last: object, message: str
) -> None:
    assert refusal({"start_date": first, "end_date": last}) == (400, "BAD_REQUEST", message)


@given(first=st.dates(max_value=date(9998, 1, 1)), days=st.integers(1, 400))
def test_ninety_days_are_the_most(first: date, days: int) -> None:
    last = first + timedelta(days=days - 1)
    asked = {"start_date": first.isoformat(), "end_date": last.isoformat()}
    if days > 90:
        assert refusal(asked) == (400, "BAD_REQUEST", TOO_LONG)
    else:
        assert list_clicks(Numbers(), ADMIN, asked)["meta"]["days"] == days


# -- pages -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "page", "per_page"),
    [
        ({}, 1, 100),
        ({"page": "2", "per_page": "10"}, 2, 10),
        ({"per_page": "5000"}, 1, 1000),
        ({"per_page": "0"}, 1, 1),
        ({"per_page": "-5"}, 1, 1),
        ({"per_page": "many"}, 1, 100),
        ({"limit": "7"}, 1, 7),
        ({"limit": "5000"}, 1, 1000),
        ({"per_page": "10", "limit": "7"}, 1, 10),
        ({"per_page": "many", "limit": "7"}, 1, 7),
        ({"page": "0"}, 1, 100),
        ({"page": "-3"}, 1, 100),
        ({"page": "first"}, 1, 100),
        ({"page": "9" * 19}, 1_000_000_000, 100),
        ({"page": 10**30, "per_page": 10**30}, 1_000_000_000, 1000),
        ({"page": 2, "per_page": 5.0}, 2, 5),
        ({"page": True, "per_page": None}, 1, 100),
        ({"dry_run": "true"}, 1, 100),
    ],
)
def test_a_page_out_of_range_becomes_the_nearest(
    asked: dict[str, object], page: int, per_page: int
) -> None:
    desk = Numbers()
    meta = ask(desk, **asked)["meta"]

    assert (meta["current_page"], meta["per_page"]) == (page, per_page)
    assert desk.read == [(per_page, (page - 1) * per_page)]


@given(count=st.integers(0, 60), per_page=st.integers(1, 25))
def test_following_next_page_shows_every_row_once_and_in_order(count: int, per_page: int) -> None:
    rows = [row("alpha", date(2026, 3, 1 + n % 31), n, clicks=n % 7) for n in range(count)]
    desk, page, seen, back = Numbers(rows), 1, [], []
    while page:
        answer = ask(desk, page=page, per_page=per_page)
        seen += answer["data"]
        back.append(answer["meta"]["prev_page"])
        page = answer["meta"]["next_page"]

    places = [(each["click_date"], each["click_count"], each["advertiser_id"]) for each in seen]
    assert len(places) == len(set(places)) == count
    assert [each[:2] for each in places] == sorted((each[:2] for each in places), reverse=True)
    assert back == [None, *range(1, len(back))]


@pytest.mark.parametrize(("page", "before"), [(3, 2), (4, 3), (5, None)])
def test_from_behind_the_end_a_way_leads_back_to_the_last_page(
    page: int, before: int | None
) -> None:
    rows = [row("alpha", date(2026, 3, 1), number) for number in range(3)]
    meta = ask(Numbers(rows), page=page, per_page=1)["meta"]

    assert (meta["next_page"], meta["prev_page"], meta["total_pages"]) == (None, before, 3)


# -- who sees what -----------------------------------------------------------------------------

ROWS = [row("alpha", date(2026, 3, 3), 1), row("beta", date(2026, 3, 2), 2)]
ROWS += [row("also", date(2026, 3, 1), 3), row("gone", date(2026, 2, 28), 4)]
BETAS_ID = publisher_of(BETA, "beta").id


@pytest.mark.parametrize(
    ("holder", "publisher_id", "seen", "said"),
    [
        pytest.param(ADMIN, None, [1, 2, 3, 4], None, id="an admin sees all, also former sites"),
        pytest.param(ADMIN, "", [1, 2, 3, 4], None, id="an empty choice is none"),
        pytest.param(ADMIN, "45", [1, 3], 45, id="an admin chooses a publisher of two sites"),
        pytest.param(ADMIN, 45, [1, 3], 45, id="as a number"),
        pytest.param(ADMIN, str(BETAS_ID), [2], BETAS_ID, id="one without a publisher, too"),
        pytest.param(ADMIN, "999", [], 999, id="nobody's number"),
        pytest.param(Holder("read", None), "45", [1, 2, 3, 4], None, id="a reader of all"),
        pytest.param(Holder("read", "alpha"), None, [1], 45, id="a site's key"),
        pytest.param(Holder("read", "beta"), "45", [2], BETAS_ID, id="a site's key never chooses"),
        pytest.param(Holder("read", "beta"), "x", [2], BETAS_ID, id="whatever it says"),
        pytest.param(Holder("admin", "beta"), "45", [2], BETAS_ID, id="nor a site's admin key"),
    ],
)
def test_a_key_shows_the_rows_of_its_sites(
    holder: Holder, publisher_id: object, seen: list[int], said: int | None
) -> None:
    answer = ask(Numbers(ROWS), holder, start_date="2026-02-01", publisher_id=publisher_id)

    assert [each["advertiser_id"] for each in answer["data"]] == seen
    assert answer["meta"]["publisher_id"] == said


@pytest.mark.parametrize("publisher_id", ["45 or 46", "-1", -1, str(1 << 63), "1.5", True])
def test_a_publisher_that_is_no_number_is_refused_to_an_admin(publisher_id: object) -> None:
    refused = refusal({**MARCH, "publisher_id": publisher_id})

    most = (1 << 63) - 1
    assert refused == (400, "BAD_REQUEST", f"publisher_id must be a whole number from 0 to {most}")


def test_a_key_that_only_writes_reads_nothing() -> None:
    assert refusal(MARCH, Holder("ingest", "alpha"))[:2] == (403, "FORBIDDEN")
    assert refusal({}, Holder("ingest", None))[:2] == (403, "FORBIDDEN")


def test_each_row_names_the_publisher_of_its_site() -> None:
    rows = ask(Numbers(ROWS), start_date="2026-02-01")["data"]
    names = [each["publisher_name"] for each in rows]

    assert names == ["Alpha Inc.", "The Beta", "Alpha", "gone"]


def test_of_one_site_everybody_is_told_the_publisher() -> None:
    assert ask(Numbers(sites=[ALPHA]))["meta"]["publisher_id"] == 45


def test_a_publisher_made_of_a_handle_keeps_its_number() -> None:
    assert publisher_of(None, "default") == Publisher(id=6649507711641679, name="default")


@given(st.text())
def test_a_number_made_of_a_handle_is_one_that_every_client_can_hold(handle: str) -> None:
    assert 0 < publisher_of(None, handle).id < 2**53
