"""Clicks of each day and advertiser, as a program asks for them: one page of rows and where it stands.

Names, order and limits of everything here are those of the hienergy Clicks API.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import date
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol

from clickmw.errors import ClickMWError
from clickmw.keyring import Holder
from clickmw.settings import Settings
from clickmw.sites import Publisher, Site, Sites
from clickmw.stores.base import AdvertiserRow, Reader
from clickmw.wire import whole_number

MOST_DAYS = 90
ROWS = 100  #: of a page, when nobody says how many
MOST_ROWS = 1_000
MOST_PAGES = 1_000_000_000  #: far behind any last page, and an offset that every store can count to
LARGEST_ID = (1 << 63) - 1  #: as the document says: int64

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


class ApiError(ClickMWError):
    """A caller asked for what cannot be given: ``status`` of HTTP and ``code``, an upper-case word."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Desk(Protocol):
    """Where the numbers are read: what :class:`clickmw.compat.Desk` has of it."""

    @property
    def settings(self) -> Settings: ...
    @property
    def open_reader(self) -> Callable[[], Reader]: ...


class Window(NamedTuple):
    """Whole days of each site's calendar, both ends included."""

    first_day: date
    last_day: date

    @property
    def days(self) -> int:
        """How many days it has."""
        return (self.last_day - self.first_day).days + 1


class Paging(NamedTuple):
    """Which page, from 1, of how many rows."""

    page: int
    per_page: int

    @property
    def offset(self) -> int:
        """How many rows lie before it."""
        return (self.page - 1) * self.per_page


def list_clicks(desk: Desk, holder: Holder, asked: Mapping[str, object]) -> dict[str, Any]:
    """Return the page of rows that *asked* names and *holder* may see: ``data`` and ``meta``.

    Raises :class:`ApiError` for what was asked wrongly, and StoreError.
    """
    if not holder.may_read:
        raise ApiError(403, "FORBIDDEN", "This key may only write; ask with a key of scope read.")
    window, paging = read_window(asked), read_paging(asked)
    sites = desk.settings.sites
    handles, publisher_id = _scope(sites, holder, asked)
    total, rows = _read(desk, window, paging, handles)
    return {
        "data": [_row(row, publisher_of(sites.by_handle(row.site), row.site)) for row in rows],
        "meta": _meta(window, paging, total, publisher_id),
    }


def read_window(asked: Mapping[str, object]) -> Window:
    """Return the days from ``start_date`` to ``end_date``, at most 90."""
    if not asked.get("start_date") or not asked.get("end_date"):
        raise _wrong("start_date and end_date are required, written as YYYY-MM-DD")
    window = Window(_day("start_date", asked), _day("end_date", asked))
    if window.days < 1:
        raise _wrong("end_date must be on or after start_date")
    if window.days > MOST_DAYS:
        # Source: the hienergy documentation's example, word for word.
        raise _wrong("Date range cannot exceed 90 days")
    return window


def read_paging(asked: Mapping[str, object]) -> Paging:
    """Return the page asked for; what is no number or out of range becomes the nearest that is.

    ``per_page`` wins over ``limit``. Source: the vendor's own clients clamp both in the same way.
    """
    page = whole_number(asked.get("page"))
    given = (whole_number(asked.get(name)) for name in ("per_page", "limit"))
    per_page = next((number for number in given if number is not None), ROWS)
    return Paging(_within(page or 1, MOST_PAGES), _within(per_page, MOST_ROWS))


def publisher_of(site: Site | None, handle: str) -> Publisher:
    """Return the publisher of a site; one without has a number made of its handle, and its name."""
    if site and site.publisher:
        return site.publisher
    digest = blake2b(handle.encode("utf-8", "replace"), digest_size=8, person=b"clickmw.site")
    # 53 bits: the largest whole numbers that every reader of JSON can hold.
    number = int.from_bytes(digest.digest()) >> 11 or 1
    return Publisher(id=number, name=(site and site.name) or handle)


def _scope(
    sites: Sites, holder: Holder, asked: Mapping[str, object]
) -> tuple[Sequence[str] | None, int | None]:
    """Return the handles of the sites to read (None: all there are), and their publisher if it is one."""
    if holder.site is not None:
        return [holder.site], publisher_of(sites.by_handle(holder.site), holder.site).id
    if holder.scope == "admin" and asked.get("publisher_id") not in (None, ""):
        chosen = whole_number(asked["publisher_id"])
        if chosen is None or not 0 <= chosen <= LARGEST_ID:
            raise _wrong(f"publisher_id must be a whole number from 0 to {LARGEST_ID}")
        return [site.handle for site in sites.all if _publisher_id(site) == chosen], chosen
    publishers = {_publisher_id(site) for site in sites.all}
    return None, publishers.pop() if len(publishers) == 1 else None


def _publisher_id(site: Site) -> int:
    return publisher_of(site, site.handle).id


def _read(
    desk: Desk, window: Window, paging: Paging, handles: Sequence[str] | None
) -> tuple[int, list[AdvertiserRow]]:
    if handles is not None and not handles:
        return 0, []
    with closing(desk.open_reader()) as reader:
        return reader.daily_clicks(*window, handles, limit=paging.per_page, offset=paging.offset)


def _row(row: AdvertiserRow, publisher: Publisher) -> dict[str, Any]:
    return {
        "advertiser_id": row.advertiser_id,
        "advertiser_name": row.advertiser_name,
        "advertiser_slug": row.advertiser_slug,
        "publisher_id": publisher.id,
        "publisher_name": publisher.name,
        "network_id": row.network_id,
        "network_name": row.network_name,
        "click_date": row.day.isoformat(),
        "click_count": row.clicks,
    }


def _meta(window: Window, paging: Paging, total: int, publisher_id: int | None) -> dict[str, Any]:
    """Return where the page stands. No cursor: the vendor's clients would follow it instead of the page."""
    last_page = -(-total // paging.per_page)
    before, after = paging.page - 1, paging.page + 1
    return {
        "current_page": paging.page,
        "next_page": after if after <= last_page else None,
        "prev_page": before if 1 <= before <= last_page else None,
        "total_pages": last_page,
        "total_count": total,
        "per_page": paging.per_page,
        "used_searchkick": False,  # what the service says when SQL has answered
        "start_date": window.first_day.isoformat(),
        "end_date": window.last_day.isoformat(),
        "days": window.days,
        "publisher_id": publisher_id,
    }


def _day(name: str, asked: Mapping[str, object]) -> date:
    text = asked[name]
    try:
        if isinstance(text, str) and _DAY.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise _wrong(f"{name} is no day; write it as YYYY-MM-DD")


def _within(number: int, most: int) -> int:
    return max(1, min(number, most))


def _wrong(message: str) -> ApiError:
    return ApiError(400, "BAD_REQUEST", message)
