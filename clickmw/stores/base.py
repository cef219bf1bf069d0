"""The contract of a store: what the drain may write and what the report may read.

A store is one module of this folder, called like the scheme of its URL. Reads take a
:class:`Filter` and answer with the rows below; every count leaves out what was not counted
(robots, duplicates, external clicks …) unless a field says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
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


#: Told of long work: how much is done, and of how much.
Tell = Callable[[int, int], None]


def silent(_done: int, _total: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """What a store has to know of the settings.

    ``site_zones`` names the time zone of each site; other sites have ``time_zone``. With
    ``durable`` every commit is on disk before it is reported. ``sites`` say whose clicks are
    whose: their advertisers, by ad id or host. ``host`` is what a store of several hosts calls this
    one, and ``agreed`` its settings that all must share, as they may be shown.
    """

    dedupe_window_ms: int = 1_800_000
    ad_dedupe_window_ms: int = 3_600_000
    sites: tuple[Site, ...] = ()
    time_zone: str = "UTC"
    site_zones: Mapping[str, str] = field(default_factory=dict)
    durable: bool = False
    host: str = ""
    agreed: Mapping[str, str] = field(default_factory=dict)


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
    body: bytes = b""


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
    text: str | None = None  #: only queries that contain this, in their normal form
    named: frozenset[str] | None = (
        None  #: of those only these; of a filter without a text, see Reader
    )


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
    impressions: int | None = 0  #: None: not kept under this filter (a text)
    excluded: Mapping[str, int] = field(
        default_factory=dict
    )  #: events kept but not counted, by "kind.reason"; by site and days only
    ratings: int = 0  #: counted feedback that has a score
    score_sum: int = 0  #: Σ score over those, 0 to 10 each
    score_square_sum: int = 0  #: Σ score² over those


@dataclass(frozen=True, slots=True)
class DayRow:
    """One calendar day of the site; days without events are present, with zeros."""

    day: date
    searches: int
    searches_clicked: int
    searches_empty: int
    clicks: int
    impressions: int | None  #: None: not kept under this filter (a text)


@dataclass(frozen=True, slots=True)
class QueryRow:
    """One normal query."""

    query: str
    searches: int
    searches_clicked: int
    searches_known: int
    searches_empty: int
    clicks: int
    impressions: int | None  #: None: not kept under this filter
    position_mean: float | None  #: of its clicks; None before the first click with a position


@dataclass(frozen=True, slots=True)
class Unnamed:
    """The queries that a filter does not name: how many, and what they add up to (as of a query "")."""

    queries: int
    sums: QueryRow


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One clicked or shown result; ``url`` is its own id where it has no URL."""

    url: str
    title: str | None
    clicks: int
    impressions: int | None  #: None: not kept under this filter
    position_mean: float | None


@dataclass(frozen=True, slots=True)
class FacetRow:
    """One value of a facet (device, language, profile, source or trust); "" where none was said."""

    value: str
    searches: int
    searches_clicked: int
    searches_known: int
    searches_empty: int
    clicks: int
    impressions: int | None  #: None: not kept under this filter (a text)
    position_mean: float | None


@dataclass(frozen=True, slots=True)
class TrendRow:
    """A query or a URL in the period and in the one before: searches of the one, clicks of the other."""

    text: str
    title: str | None
    now: int
    before: int


@dataclass(frozen=True, slots=True)
class QueryDayRow:
    """One day of one query; days without events are present, with zeros."""

    day: date
    searches: int
    searches_clicked: int
    searches_known: int
    searches_empty: int
    clicks: int
    impressions: int | None  #: None: not kept under this filter
    position_mean: float | None


@dataclass(frozen=True, slots=True)
class NeighbourRow:
    """A query that the same visitor searched right before or after another one.

    ``searches`` are its counted searches there, ``searches_clicked`` those with a click, and
    ``visitors`` how many different visitors did it (a visitor is another one each day).
    """

    query: str
    searches: int
    searches_clicked: int
    visitors: int


@dataclass(frozen=True, slots=True)
class Dwell:
    """How long visitors stayed on results: clicks whose return is known, and those without one.

    ``short`` is less than 10 s, ``long`` 30 s and more; the median is in seconds.
    """

    known: int
    short: int
    long: int
    unknown: int
    median_s: float | None


@dataclass(frozen=True, slots=True)
class ResultQueryRow:
    """One query whose searches led to a result; ``query`` None for clicks without one.

    ``unnamed``: in this row so many queries are summed that nobody is told (0: it is one query).
    """

    query: str | None
    clicks: int
    clicks_positioned: int
    position_mean: float | None
    unnamed: int = 0


@dataclass(frozen=True, slots=True)
class ResultDayRow:
    """One day of one result; days without events are present, with zeros."""

    day: date
    clicks: int
    impressions: int | None  #: None: not kept under this filter
    position_mean: float | None


@dataclass(frozen=True, slots=True)
class ChainRow:
    """A step from one query to another within one session; ``visitors`` as in a :class:`NeighbourRow`."""

    query: str
    next_query: str
    steps: int
    visitors: int
    clicked_before: int  #: steps whose first search had a click
    clicked_after: int  #: steps whose second search had one


@dataclass(frozen=True, slots=True)
class Sessions:
    """What visitors did in one go: counted searches of one visitor, none 30 minutes after the last.

    Read from the latest whole days of the filter that have at most the number of searches asked
    for together (``first_day`` is the first of them, None without any; one day at least). Searches
    without a visitor are in no session: ``searches_alone``.
    """

    first_day: date | None
    last_day: date | None
    sessions: int
    searches: int
    searches_alone: int
    by_searches: tuple[int, int, int, int, int]  #: sessions with 1, 2, 3, 4 and 5 or more searches
    sessions_clicked: int  #: with at least one click
    refined: int  #: searches without a click followed by another query within 5 minutes
    last_unclicked: int  #: sessions whose last search has no click
    searches_known_found: int  #: searches known to have hits
    abandoned: int  #: of those: no click of any kind, no refinement and no answer
    answered: int  #: of those: no click, but an answer was shown, or a score of 7 or more given
    first_click_s: tuple[float, float] | None  #: seconds from search to first click: median, 90 %
    searches_timed: int  #: searches whose first click is timed (within an hour)
    chains: tuple[ChainRow, ...]  #: most frequent steps first


@dataclass(frozen=True, slots=True)
class PositionRow:
    """One position (or bucket of positions) in the lists of one module."""

    module_code: str
    first: int
    last: int | None  #: None: open-ended
    impressions: int | None  #: None: not kept under this filter (a text)
    clicks: int


@dataclass(frozen=True, slots=True)
class ModuleRow:
    """One module of the result page."""

    module_code: str
    impressions: int | None  #: None: not kept under this filter (a text)
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
    seen: int = 0  #: of the impressions, those half visible for a second; 0 without the snippet


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


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild did: the first day that was summed again (None: all days), handle → (old zone, new zone)."""

    first_day: date | None
    zones: Mapping[str, tuple[str, str]]


class StoredKey(NamedTuple):
    """A key that was made on the command line; ``digest`` is a keyed hash of its text, 64 hex digits.

    ``site`` None: it opens all sites. ``name`` is for people.
    """

    id: str
    digest: str
    scope: str
    site: str | None
    created_ms: int
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """What shall be gone: one of a query in any spelling, a result's URL, and a visitor (16 hex digits).

    ``day``: only what the visitor did on that day of the site's calendar, give or take half a day.
    """

    query: str | None = None
    url: str | None = None
    visitor: str | None = None
    day: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Extract:
    """Which rows to take out: of a public view, or ``returns``; days of the site, both included.

    ``whole``: with all that it takes to make the events again; impressions are then those without a search.
    """

    table: str
    first_day: date
    last_day: date
    site: str | None = None
    whole: bool = False


class Reader(Protocol):
    """The read side of a store. Lists come most important first; ``limit`` ≥ 1.

    Every part of a filter holds for every number unless a method says otherwise; a number that is
    not kept under a filter is None. A search has no module: under one, searches stay as they are
    and clicks are those of the module. A text holds for results, positions and modules as well:
    they are those of clicks whose query contains it. ``robots`` are instead of people.
    ``named`` says which queries of the text are meant; without a text it holds for what is asked of
    one query alone.
    """

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
    def queries_with_few_clicks(self, asked: Filter, limit: int, *, least: int) -> list[QueryRow]:
        """Return queries with *least* searches or more that found something, those that miss most clicks first.

        A query misses as many searches with a click as it would have with the share of all
        queries of the filter (searches with a click / searches but those known to have found
        nothing), less those it has; only queries that miss some are in the list.
        """

    def queries_with_low_ctr(
        self, asked: Filter, limit: int, *, least: int, below: int
    ) -> list[QueryRow]:
        """Return queries with *least* searches and clicks together or more, and fewer than *below* clicks for 100 searches.

        Fewest clicks for a search come first, then most searches.
        """

    def queries_clicked_deep(
        self, asked: Filter, limit: int, *, least: int, deeper: int
    ) -> list[QueryRow]:
        """Return queries with *least* placed clicks or more whose mean is *deeper* or more, deepest first."""

    def results_without_clicks(self, asked: Filter, limit: int, *, least: int) -> list[ResultRow]:
        """Return results shown *least* times or more and never clicked, most shown first; by site and days only."""

    def trending_queries(
        self, asked: Filter, before: Filter, limit: int, *, least: int
    ) -> list[TrendRow]:
        """Return queries with *least* searches now or more and more than *before*, largest growth first.

        Growth is (now - before) / √(now + before): how far it is from chance. Of *before* only the
        days are read, which lie before those of *asked*; all else is as in *asked*.
        """

    def trending_results(
        self, asked: Filter, before: Filter, limit: int, *, least: int
    ) -> list[TrendRow]:
        """Return the same of clicks on results."""

    def facet(self, asked: Filter, name: str) -> list[FacetRow]:
        """Return the values of a facet, most searched first, then most clicked, then by value."""

    def query_days(self, asked: Filter, query: str) -> list[QueryDayRow]:
        """Return every day asked for of one query, in order."""

    def query_dwell(self, asked: Filter, query: str, *, clicks: int) -> Dwell:
        """Return how long visitors stayed, from the latest *clicks* of the query."""

    def query_neighbours(
        self, asked: Filter, query: str, *, searches: int, limit: int
    ) -> tuple[list[NeighbourRow], list[NeighbourRow]]:
        """Return what was searched within 5 minutes before and after the latest *searches* of a query.

        Only the search right before and right after counts, when it was another query.
        """

    def result_queries(self, asked: Filter, url: str, limit: int) -> list[ResultQueryRow]:
        """Return which queries led to a result, most clicks first; *url* as in a :class:`ResultRow`."""

    def result_days(self, asked: Filter, url: str) -> list[ResultDayRow]:
        """Return every day asked for of one result, in order."""

    def result_positions(self, asked: Filter, url: str) -> list[PlaceRow]:
        """Return from where a result was clicked: by module and position, impressions 0 (not kept by result)."""

    def sessions(self, asked: Filter, *, searches: int, limit: int) -> Sessions:
        """Return what visitors did in one go, from the latest days with at most *searches*; *limit* chains."""

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

    def common_queries(
        self, asked: Filter, *, visitors: int, among: frozenset[str] | None = None
    ) -> frozenset[str]:
        """Return the queries that so many *visitors* or more searched or clicked on; by site, days and text only.

        Of people, and of what counts. A visitor is another one each day; events without one are of
        nobody. *among*: no others than these.
        """

    def unnamed_queries(self, asked: Filter) -> Unnamed | None:
        """Return what the queries that *asked* does not name add up to, whatever its text; None when it names none."""

    def live(self, limit: int) -> list[LiveRow]: ...
    def ledger(self) -> dict[str, int]: ...
    def watermarks(self) -> dict[str, tuple[int, int]]: ...
    def site_zones(self) -> dict[str, str]: ...
    def disagreements(self) -> list[str]:
        """Return a sentence for each setting that must be the same on all hosts of the store and is not."""

    def close(self) -> None: ...


class Store(Protocol):
    """A place where events are kept. ``kind`` is its URL's scheme; ``shared``: several hosts may use it."""

    kind: str
    shared: bool

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

    def refresh(self, within_s: float = float("inf")) -> bool:
        """Bring what the report reads up to what was taken in, where ``append`` does not do so itself.

        As far as *within_s* goes; False when there is more to do.
        """

    def prune(self, before_ms: int, *, limit: int) -> int:
        """Delete up to *limit* raw events received before *before_ms*; rollups stay. Return how many."""

    def count_before(self, before_ms: int) -> dict[str, int]:
        """Return how many raw rows of each kind were received before *before_ms*; nothing is changed."""

    def horizon(self) -> int:
        """Return the time before which raw events are pruned, in milliseconds; 0 when none ever was."""

    def back_up(self, path: Path, tell: Tell) -> dict[str, int]:
        """Write a copy of one moment to the new file *path*; return table → rows, counted in both."""

    def rebuild(self, tell: Tell) -> Rebuilt:
        """Decide and sum everything again from raw events, in the time zones of the settings.

        Days before the first whole day after the horizon keep their sums.
        """

    def erase(self, wanted: Erasure, tell: Tell) -> dict[str, int]:
        """Delete what *wanted* names from rows, sums, logs and freed pages; return kind → rows.

        ``elsewhere`` counts the other texts that contain an erased query.
        """

    def list_keys(self) -> list[StoredKey]:
        """Return the keys that were made on the command line, oldest first; reads little, takes no lock."""

    def add_key(self, key: StoredKey) -> None:
        """Keep a new key."""

    def remove_key(self, key_id: str) -> bool:
        """Take a key out of force; False when there is none."""

    def export(self, asked: Extract) -> Iterator[Sequence[Any]]:
        """Yield the names of the columns and then the rows, one by one, all of one moment."""

    def find_stored(self, event_ids: Collection[bytes]) -> set[bytes]:
        """Return which events have a row already; for imports, reads every row once."""

    def find_clicks(self, query_ids: Collection[str]) -> list[tuple[bytes, str, int]]:
        """Return (query id, URL, received_ms) of each click on one of these pages."""

    def reader(self) -> Reader:
        """Open a read-only view; the caller closes it."""

    def check(self, tell: Tell = silent) -> list[str]:
        """Return a sentence for every invariant that does not hold: rollups = raw, raw = rules."""

    def find_damage(self, within_s: float) -> list[str] | None:
        """Read the store's file; return what is wrong with it, None when *within_s* was not enough."""

    def copy_from(self, source: Store, tell: Tell) -> dict[str, int]:
        """Take over all rows of *source* into this empty store; return table → rows. Run again, it goes on."""

    def keep_salt(self, day: int, salt: bytes) -> bytes:
        """Return the salt of *day* that all hosts share: the one that is there, else *salt* from now on."""

    def describe(self, reader: Reader | None = None) -> dict[str, Any]:
        """Return ``{"kind", "ok", "error", "warning"}`` for health; a warning is no trouble yet.

        Nothing is opened when a *reader* of this store is open.
        """

    def close(self) -> None: ...
