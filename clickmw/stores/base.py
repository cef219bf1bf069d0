"""The contract of a store: what the drain may write and what the report may read.

A store is one module of this folder, called like the scheme of its URL. Reads take a
:class:`Filter` and answer with the rows below; every count leaves out what was not counted
(robots, duplicates, external clicks …) unless a field says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, NamedTuple, Protocol

from clickmw.events import Event
from clickmw.sites import Site

#: Totals are kept by quarter hours of UTC; no time zone shifts by less.
QUARTER_MS = 900_000
#: Positions 1 to 20 stand alone; above, buckets. 24 in all, as (first, last) with last None for open.
POSITION_BUCKETS: tuple[tuple[int, int | None], ...] = (
    *((n, n) for n in range(1, 21)),
    (21, 30),
    (31, 50),
    (51, 100),
    (101, None),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """What a store has to know of the settings.

    ``site_zones`` names the time zone of each site; other sites have ``time_zone``. With
    ``durable`` every commit is on disk before it is reported. ``sites`` say whose clicks are
    whose: their advertisers, by ad id or host.
    """

    dedupe_window_ms: int = 1_800_000
    ad_dedupe_window_ms: int = 3_600_000
    sites: tuple[Site, ...] = ()
    time_zone: str = "UTC"
    site_zones: Mapping[str, str] = field(default_factory=dict)
    durable: bool = False


class Stored(NamedTuple):
    """One event of a journal record: its id (16 bytes, time-ordered) and the event itself."""

    event_id: bytes
    event: Event


class Record(NamedTuple):
    """One journal record.

    ``start`` and ``end`` are byte offsets in the segment; ``running`` is the writer's own count of
    events it has received up to and including this record; ``tallies`` are counts of what was
    never journalled, by ledger name (``opted_out``, ``dropped.rate`` …); ``torn`` is true for
    bytes whose checksum did not match.
    """

    start: int
    end: int
    running: int
    events: tuple[Stored, ...]
    tallies: Mapping[str, int]
    torn: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What a report asks for: whole days of the site's calendar, both ends included."""

    first_day: date
    last_day: date
    site: str | None = None
    module: str | None = None
    device: str | None = None
    language: str | None = None
    profile: str | None = None
    source: str | None = None
    trust: str | None = None
    robots: bool = False


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over the filter's days; the ground of every headline number."""

    searches: int = 0
    searches_clicked: int = 0  #: searches with at least one counted click within 24 hours
    searches_known: int = 0  #: searches whose number of hits was stated
    searches_empty: int = 0  #: of those, the ones with 0 hits
    searches_answered_unclicked: int = 0  #: known to have hits, and no click
    search_reciprocal_sum: float = (
        0.0  #: Σ over searches of 1 / best clicked position, 0 without click
    )
    clicks: int = 0
    clicks_positioned: int = 0  #: clicks whose position is known
    position_sum: int = 0  #: Σ position over those
    click_reciprocal_sum: float = 0.0  #: Σ 1 / position over those
    impressions: int = 0
    excluded: Mapping[str, int] = field(
        default_factory=dict
    )  #: events kept but not counted, by "kind.reason"


@dataclass(frozen=True, slots=True)
class DayRow:
    """One calendar day of the site; days without events are present, with zeros."""

    day: date
    searches: int
    searches_clicked: int
    searches_empty: int
    clicks: int
    impressions: int


@dataclass(frozen=True, slots=True)
class QueryRow:
    """One normal query."""

    query: str
    searches: int
    searches_clicked: int
    searches_known: int
    searches_empty: int
    clicks: int
    impressions: int
    position_mean: float | None  #: of its clicks; None before the first click with a position


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One clicked or shown result; ``url`` is its own id where it has no URL."""

    url: str
    title: str | None
    clicks: int
    impressions: int
    position_mean: float | None


@dataclass(frozen=True, slots=True)
class PositionRow:
    """One position (or bucket of positions) in the lists of one module."""

    module_code: str
    first: int
    last: int | None  #: None: open-ended
    impressions: int
    clicks: int


@dataclass(frozen=True, slots=True)
class ModuleRow:
    """One module of the result page."""

    module_code: str
    impressions: int
    clicks: int
    position_mean: float | None


@dataclass(frozen=True, slots=True)
class LiveRow:
    """One event as it was stored, for the live tail; newest first. ``verdict`` is "counted" or the reason why not.

    ``kind`` is search, click (of a result), ad_click, related_click, source_click, ad_impression,
    ad_view, related_impression, feedback, answer or conversion. Of what was shown, the first is named.
    """

    received_ms: int
    kind: str
    site: str
    query: str | None
    url: str | None
    position: int | None
    module_code: str | None
    verdict: str


@dataclass(frozen=True, slots=True)
class AdvertiserRow:
    """The clicks of one day that led to one advertiser: counted clicks on its results and ads.

    A host that no advertiser names is its own: ``advertiser_id`` is then a number made of the host
    (the same in every store), name and slug are the host.
    """

    day: date
    site: str
    advertiser_id: int
    advertiser_name: str
    advertiser_slug: str
    network_id: int | None
    network_name: str | None
    clicks: int


@dataclass(frozen=True, slots=True)
class PlaceRow:
    """One result at one position of one module, as it was shown for a query and clicked there.

    ``url`` as in a :class:`ResultRow`; position 0 is one that nobody knew.
    """

    url: str
    title: str | None
    module_code: str
    position: int
    impressions: int
    clicks: int


@dataclass(frozen=True, slots=True)
class Explained:
    """What is known of one query: its sums, and where its results were shown and clicked.

    ``places`` are read from the ``searches_read`` most recent of its pages (also those that did not
    count as searches of their own: their impressions count); most clicked first, then most shown.
    Beside them stand as many of the most recent clicks that belong to no page: some senders report
    clicks and no searches. All of a filter holds for the places, its site and days for the sums.
    """

    row: QueryRow | None
    searches_read: int
    places: list[PlaceRow]


class Reader(Protocol):
    """The read side of a store. Lists come most important first; ``limit`` ≥ 1."""

    def sites(self) -> list[str]: ...
    def day_span(self, site: str | None) -> tuple[date, date] | None: ...
    def totals(self, asked: Filter) -> Totals: ...
    def daily(self, asked: Filter) -> list[DayRow]: ...
    def top_queries(self, asked: Filter, limit: int) -> list[QueryRow]: ...
    def top_results(self, asked: Filter, limit: int) -> list[ResultRow]: ...
    def positions(self, asked: Filter) -> list[PositionRow]: ...
    def modules(self, asked: Filter) -> list[ModuleRow]: ...
    def queries_without_clicks(self, asked: Filter, limit: int) -> list[QueryRow]: ...
    def queries_without_results(self, asked: Filter, limit: int) -> list[QueryRow]: ...
    def daily_clicks(
        self,
        first_day: date,
        last_day: date,
        sites: Sequence[str] | None,
        *,
        limit: int,
        offset: int = 0,
    ) -> tuple[int, list[AdvertiserRow]]:
        """Return how many rows there are, and those of one page: newest day first, then most clicks, then name, id, site."""

    def explain_query(self, asked: Filter, query: str, *, searches: int) -> Explained:
        """Return what is known of *query* (any spelling of it), from at most *searches* pages."""

    def live(self, limit: int) -> list[LiveRow]: ...
    def ledger(self) -> dict[str, int]: ...
    def watermarks(self) -> dict[str, tuple[int, int]]: ...
    def site_zones(self) -> dict[str, str]: ...
    def close(self) -> None: ...


class Store(Protocol):
    """A place where events are kept. ``kind`` is its URL's scheme."""

    kind: str

    def migrate(self) -> None:
        """Bring the schema up to date; safe to call from many processes at once."""

    def watermarks(self) -> dict[str, tuple[int, int]]:
        """Return segment name → (bytes taken in, writer's running count there)."""

    def append(
        self,
        segment: str,
        start: int,
        end: int,
        records: Sequence[Record],
        *,
        on_disk: bool = False,
    ) -> int:
        """Take in the records of *segment* between two byte offsets; return how many events were new.

        All or nothing, in one transaction with rollups and watermark. What lies before the
        watermark is skipped; a *start* behind it is a :class:`StoreError` (a gap). An event whose
        values no store can hold is a :class:`BadEvent`. When it returns with ``on_disk`` the
        commit survives a power cut.
        """

    def forget_segment(self, segment: str) -> None:
        """Drop the watermark of a segment whose file is gone."""

    def prune(self, before_ms: int, *, limit: int) -> int:
        """Delete up to *limit* raw events received before *before_ms*; rollups stay. Return how many."""

    def reader(self) -> Reader:
        """Open a read-only view; the caller closes it."""

    def check(self) -> list[str]:
        """Return a sentence for every invariant that does not hold: rollups = raw, raw = rules."""

    def describe(self) -> dict[str, Any]:
        """Return ``{"kind", "ok", "error"}`` for health."""

    def close(self) -> None: ...
