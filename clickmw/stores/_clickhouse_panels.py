"""What the report reads from ClickHouse: the answers of the SQLite store, asked in its own words.

Where a statement of the SQLite store is only sums, it is taken over as it is. Lists are read in one pass
over all sums of the days, and the texts of what is in a list are looked up afterwards: a table of texts
may be larger than all else.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from heapq import nsmallest
from typing import Any

from clickmw.stores import _clickhouse_hosts as hosts
from clickmw.stores import _clickhouse_progress as progress
from clickmw.stores import _clickhouse_queries as sql
from clickmw.stores._clickhouse_dialect import fill, null_of_nothing, translate
from clickmw.stores._clickhouse_http import Client
from clickmw.stores._clickhouse_numbers import number_of, query_number
from clickmw.stores._clickhouse_schema import HORIZON
from clickmw.stores._sqlite_check import first_whole
from clickmw.stores._sqlite_panels import SQLiteReader
from clickmw.stores._sqlite_reading import day_date, day_number, is_by_more, mean_of, query_row
from clickmw.stores._sqlite_sessions import REFINED_MS
from clickmw.stores.base import (
    AdvertiserRow,
    Explained,
    Filter,
    LiveRow,
    NeighbourRow,
    PlaceRow,
    QueryRow,
    ResultRow,
    TrendRow,
)


class ClickHouseReader(SQLiteReader):
    """A read-only view of the store; ``catch_up`` is called before each question."""

    def __init__(self, client: Client, catch_up: Callable[[], None]) -> None:
        super().__init__(None)  # type: ignore[arg-type]  # nothing asks it
        self._client = client
        self._catch_up = catch_up

    def disagreements(self) -> list[str]:
        """Return a sentence for each setting that is not the same on all hosts."""
        return list(hosts.find_disagreements(self._client, time.time_ns() // 1_000_000))

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _rows(
        self, question: str, values: Sequence[object] | Mapping[str, object] = ()
    ) -> list[Any]:
        self._catch_up()
        ours = null_of_nothing(sql.OWN.get(question) or translate(question))
        if isinstance(values, Mapping) and values.get("matching") is not None:
            ours = ours.replace(sql.MATCHING, ":matching")
        return self._client.rows(fill(ours, values))

    def _version(self) -> int:
        """Return another number each time: any question may bring something new to be read."""
        return time.monotonic_ns()

    def _bind(self, asked: Filter, limit: int = 0, **more: int) -> dict[str, object]:
        """Bind queries that are named by their ids: these follow from the texts."""
        named = None if asked.named is None else sorted(map(query_number, asked.named))
        is_text = asked.text is not None
        return {
            **super()._bind(asked, limit, **more),
            "named": named,
            "matching": named if is_text else None,
        }

    def _matching(self, text: str, named: frozenset[str] | None) -> None:
        return None

    def _is_in_most(self, asked: Filter) -> bool:
        """Say no: here every way reads all rows of the days."""
        return False

    def _needs_facts(self, asked: Filter, before: Filter | None = None) -> bool:
        """Tell whether the sums by query do not have the answer; columns are read fast in any case."""
        return is_by_more(asked)

    def _is_whole(self, asked: Filter) -> bool:
        """Tell whether the raw rows are all there that the sums were made of."""
        return day_number(asked.first_day) >= first_whole("cube", self._rows(HORIZON)[0][0])

    def _site(self, handle: str | None) -> int | None:
        return None if handle is None else number_of(handle)

    def _term(self, text: str | None) -> int | None:
        return None if text is None else number_of(text)

    def _texts(self, table: str, column: str, ids: Iterable[int | None]) -> dict[int, Any]:
        """Return the text of each of *ids*."""
        wanted = sorted({number for number in ids if number is not None})
        found: dict[int, Any] = {}
        for start in range(0, len(wanted), 5000):
            asked = {"ids": wanted[start : start + 5000]}
            question = f"SELECT id, {column} FROM {table} WHERE id IN :ids"
            for row in self._rows(question, asked):
                found[row[0]] = row[1] if len(row) == 2 else row[1:]
        return found

    def _results_of(self, ids: Iterable[int | None]) -> dict[int, tuple[str, str | None]]:
        """Return URL (or its own id) and title of each of *ids*."""
        return self._texts("result", "if(url = '', doc_id, url), title", ids)

    # -- ledger ------------------------------------------------------------------------------------

    def ledger(self) -> dict[str, int]:
        """Return the cumulative ledger, and ``unjoined``: clicks whose search has not arrived."""
        self._catch_up()
        ledger = progress.ledger(self._client)
        duplicates, same, late, aside, unjoined = self._rows(
            sql.LEDGER, {"duplicate": number_of("duplicate"), "repeated": number_of("repeated")}
        )[0]
        if "stored" in ledger:
            ledger["stored"] -= same + late + aside
        for name, count in (
            ("duplicates", duplicates),
            ("dropped.same_query_id", same),
            ("dropped.late", late),
            ("dropped.unstorable", aside),
        ):
            if count:
                ledger[name] = ledger.get(name, 0) + count
        return {**ledger, "unjoined": unjoined}

    def watermarks(self) -> dict[str, tuple[int, int]]:
        """Return segment name → (bytes taken in, writer's running count there)."""
        return progress.as_pairs(progress.marks(self._client))

    # -- queries -----------------------------------------------------------------------------------

    def _kept(self, name: str, asked: Filter, limit: int, **more: int) -> list[QueryRow]:
        bound = self._bind(asked, limit, **more)
        ranked = self._rows(sql.KEPT[name], bound)
        ids = [query for query, _, _ in ranked]
        sums = {row[0]: row[1:] for row in self._rows(sql.KEPT_SUMS, {**bound, "ids": ids})}
        texts = self._query_texts(ids)
        ranked.sort(key=lambda row: (-row[1], -row[2], texts[row[0]]))
        return [query_row((texts[query], *sums[query])) for query, _, _ in ranked]

    def _tally(self, asked: Filter) -> dict[int, list[int]]:
        rows = self._rows(sql.tally(asked.text is not None), self._bind(asked))
        return {row[0]: list(row[1:]) for row in rows}

    def _clicked(self, asked: Filter) -> dict[int, int]:
        """Return how often the searches of each query led to a click."""
        return dict(self._rows(sql.clicked(asked.text is not None), self._bind(asked)))

    def queries_without_clicks(self, asked: Filter, limit: int) -> list[QueryRow]:
        """Return the most searched queries that had answers but no click."""
        if not is_by_more(asked):
            return self._kept("unclicked", asked, limit)
        clicked = self._clicked(asked)
        searches = [
            (query, all_, 0)
            for query, (all_, _, empty) in self._tally(asked).items()
            if all_ > empty and query not in clicked
        ]
        return self._of(asked, limit, searches)

    def queries_with_low_ctr(
        self, asked: Filter, limit: int, *, least: int, below: int
    ) -> list[QueryRow]:
        """Return the queries with *least* searches and clicks and fewer than *below* clicks for 100 searches."""
        if not is_by_more(asked):
            return self._kept("low", asked, limit, least=least, below=below)
        clicked = self._clicked(asked)
        low = [
            (query, -clicked.get(query, 0) / searches, searches)
            for query, (searches, _, _) in self._tally(asked).items()
            if searches + clicked.get(query, 0) >= least
            and 100 * clicked.get(query, 0) < below * searches
        ]
        return self._of(asked, limit, low)

    def _of(
        self, asked: Filter, limit: int, ranked: Iterable[tuple[int, float, int]]
    ) -> list[QueryRow]:
        best = nsmallest(limit, ((-first, -second, query) for query, first, second in ranked))
        ids = [query for *_, query in best]
        bound = {**self._bind(asked), "ids": ids}
        searched = {row[0]: row[1:] for row in self._rows(sql.OF_IDS_SEARCHED, bound)}
        clicked = {row[0]: row[1:] for row in self._rows(sql.OF_IDS_CLICKED, bound)}
        texts = self._query_texts(ids)
        weighed = []
        for first, second, query in best:
            clicks, positioned, positions = clicked.get(query, (0, 0, 0))
            sums = searched.get(query, (0, 0, 0, 0))
            row = query_row((texts[query], *sums, clicks, None, positions, positioned))
            weighed.append((first, second, row.query, row))
        return [row for *_, row in sorted(weighed, key=lambda each: each[:3])]

    def _query_texts(self, ids: Sequence[int]) -> Mapping[int, str]:
        return self._texts("query", "text", ids)

    def common_queries(
        self, asked: Filter, *, visitors: int, among: frozenset[str] | None = None
    ) -> frozenset[str]:
        """Return the queries that so many *visitors* or more searched or clicked on."""
        bound = {**self._bind(asked), "least": visitors}
        bound["among"] = None if among is None else sorted(map(query_number, among))
        rows = self._rows(sql.COMMON if among is None else sql.COMMON_AMONG, bound)
        return frozenset(text for (text,) in rows)

    # -- results and trends ------------------------------------------------------------------------

    def trending_queries(
        self, asked: Filter, before: Filter, limit: int, *, least: int
    ) -> list[TrendRow]:
        """Return the queries whose searches have grown most."""
        if is_by_more(asked):
            return super().trending_queries(asked, before, limit, least=least)
        rows = self._both(sql.TRENDING_QUERIES, asked, before, limit, least)
        texts = self._query_texts([row[0] for row in rows])
        return [TrendRow(texts[query], None, now, was) for query, now, was in rows]

    def trending_results(
        self, asked: Filter, before: Filter, limit: int, *, least: int
    ) -> list[TrendRow]:
        """Return the results whose clicks have grown most."""
        is_kept = not is_by_more(asked) and asked.text is None
        question = sql.TRENDING_RESULTS if is_kept else sql.trending_clicked(asked.text is not None)
        rows = self._both(question, asked, before, limit, least)
        results = self._results_of(row[0] for row in rows)
        return [TrendRow(*results[result], now, was) for result, now, was in rows]

    def top_results(self, asked: Filter, limit: int) -> list[ResultRow]:
        """Return the most clicked results."""
        is_kept = not is_by_more(asked) and asked.text is None
        question = sql.TOP_RESULTS if is_kept else sql.top_clicked(asked.text is not None)
        return self._named_results(self._rows(question, self._bind(asked, limit)), by=1)

    def results_without_clicks(self, asked: Filter, limit: int, *, least: int) -> list[ResultRow]:
        """Return the results that were shown most and never clicked, by site and days only."""
        rows = self._rows(sql.UNCLICKED_RESULTS, self._bind(asked, limit, least=least))
        return self._named_results(rows, by=2)

    def _named_results(self, rows: Sequence[Any], by: int) -> list[ResultRow]:
        """Return rows of result, clicks, impressions, positions, placed clicks; largest of *by* first."""
        results = self._results_of(row[0] for row in rows)
        named = sorted((-row[by], results[row[0]][0], index) for index, row in enumerate(rows))
        return [
            ResultRow(*(*results[rows[index][0]], *rows[index][1:3], mean_of(*rows[index][3:5])))
            for _, _, index in named
        ]

    # -- the rest of the report's tables -----------------------------------------------------------

    def daily_clicks(
        self,
        first_day: date,
        last_day: date,
        sites: Sequence[str] | None,
        *,
        limit: int,
        offset: int = 0,
    ) -> tuple[int, list[AdvertiserRow]]:
        """Return how many days with clicks of an advertiser there are, and one page of them."""
        asked = {
            "first_day": day_number(first_day),
            "last_day": day_number(last_day),
            "all_sites": int(sites is None),
            "sites": [number_of(site) for site in sites or ()],
            "limit": limit,
            "offset": offset,
        }
        count = self._rows(f"SELECT count() FROM ({sql.OWNED})", asked)[0][0]
        rows = self._rows(sql.DAILY_CLICKS, asked)
        return count, [AdvertiserRow(day_date(row[0]), *row[1:]) for row in rows]

    def live(self, limit: int) -> list[LiveRow]:
        """Return the last events as they came in, newest first."""
        rows = [row for each in sql.LIVE for row in self._rows(each, {"limit": limit})]
        tail = sorted(rows, key=lambda row: row[0], reverse=True)[:limit]
        sites = dict(self._rows("SELECT id, handle FROM site"))
        queries = self._texts("query", "text", (row[3] for row in tail))
        results = self._results_of(row[4] for row in tail)
        terms = self._texts("term", "text", (n for row in tail for n in (row[7], row[8])))
        return [
            LiveRow(
                received_ms,
                kind,
                sites[site],
                queries.get(query),
                (results[result][0] if result else "") or other,
                position,
                None if module is None else terms[module],
                terms[reason] or "counted",
            )
            for received_ms, kind, site, query, result, other, position, module, reason in tail
        ]

    # -- drill-downs -------------------------------------------------------------------------------

    def query_neighbours(
        self, asked: Filter, query: str, *, searches: int, limit: int
    ) -> tuple[list[NeighbourRow], list[NeighbourRow]]:
        """Return what was searched within 5 minutes before and after the latest *searches* of a query."""
        number = self._query(asked, query)
        if number is None:
            return [], []
        own = self._rows(sql.OWN_SEARCHES, self._ask(asked, query=number, searches=searches))
        sides: tuple[list[Any], list[Any]] = ([], [])
        for walk, at in self._walks(asked, own):
            for side, index in enumerate((at - 1, at + 1)):
                if 0 <= index < len(walk) and abs(walk[index][0] - walk[at][0]) <= REFINED_MS:
                    sides[side].append(walk[index])
        before, after = (self._neighbours(found, number) for found in sides)
        return before[:limit], after[:limit]

    def _walks(self, asked: Filter, own: Sequence[Any]) -> Iterable[tuple[list[Any], int]]:
        """Yield for each of the searches *own* all searches of its visitor, and its place among them."""
        walks: dict[Any, list[Any]] = defaultdict(list)
        visitors = sorted({(site, visitor) for site, _, visitor, _, _ in own})
        days = [row[1] for row in own]
        for start in range(0, len(visitors), 5000):
            chunk = visitors[start : start + 5000]
            bound = {
                **self._ask(asked),
                "visitors": [visitor for _, visitor in chunk],
                "first": min(days) - 1,
                "last": max(days) + 1,
            }
            for site, visitor, *search in self._rows(sql.WALKS, bound):
                walks[site, visitor].append((*search, site, visitor))
        for site, _, visitor, _, query_id in own:
            walk = walks[site, visitor]
            yield walk, next(n for n, search in enumerate(walk) if search[1] == query_id)

    def _neighbours(self, found: Sequence[Any], own: int) -> list[NeighbourRow]:
        """Return rows of *found*: searches as (time, query id, query, clicked, site, visitor)."""
        sums: dict[int, list[Any]] = {}
        for _, _, query, clicked, site, visitor in found:
            if query != own:
                row = sums.setdefault(query, [0, 0, set()])
                row[0] += 1
                row[1] += clicked
                row[2].add((site, visitor))
        texts = self._texts("query", "text", sums)
        rows = [
            NeighbourRow(texts[query], searches, clicked, len(visitors))
            for query, (searches, clicked, visitors) in sums.items()
        ]
        return sorted(rows, key=lambda row: (-row.searches, -row.visitors, row.query))

    def explain_query(self, asked: Filter, query: str, *, searches: int) -> Explained:
        """Return what is known of *query*: its sums, and where its results were shown and clicked."""
        number = self._query(asked, query)
        if number is None:
            return Explained(None, 0, [])
        bound = self._ask(asked, query=number, searches=searches)
        bound["prefetch"] = number_of("prefetch")
        bound["robot"] = number_of("robot")
        shows = [0, *map(number_of, ("page", "repeat", "typing", "robot"))]
        pages = self._rows(sql.PAGES, bound)
        places: Counter[tuple[int, int, int, str]] = Counter()
        for page in pages:
            if page[2] in shows:
                _count_shown(places, page[3], page[4])
        for place in self._clicked_places(pages, bound):
            places[*place, "clicks"] += 1
        sums = [query_row((query_text, *row)) for query_text, *row in self._sums_of(bound, number)]
        rows = self._places(places, bound["module"])
        return Explained(sums[0] if sums else None, len(pages), rows)

    def _sums_of(self, bound: Mapping[str, Any], number: int) -> list[Any]:
        rows = self._rows(sql.QUERY_SUMS, bound)
        texts = self._texts("query", "text", [number])
        return [(texts[number], *row) for row in rows if row[0] or row[4] or row[5]]

    def _clicked_places(
        self, pages: Sequence[Any], bound: Mapping[str, Any]
    ) -> Iterable[tuple[int, int, int]]:
        """Yield result, module and position of each click on *pages*, or on none."""
        views = {
            (viewed or query_id, query_id if viewed else None) for query_id, viewed, *_ in pages
        }
        keys = sorted({page for page, _ in views})
        for start in range(0, len(keys), 5000):
            asked = {**bound, "pages": keys[start : start + 5000]}
            for result, module, position, query_id, view_id in self._rows(sql.PAGE_CLICKS, asked):
                if (query_id, view_id) in views:
                    yield result, module, position or 0
        for result, module, position in self._rows(sql.CLICKS_ALONE, bound):
            yield result, module, position or 0

    def _places(
        self, places: Mapping[tuple[int, int, int, str], int], module: int | None
    ) -> list[PlaceRow]:
        keys = {key[:3] for key in places if module is None or key[1] == module}
        results = self._results_of(result for result, _, _ in keys)
        terms = self._texts("term", "text", (code for _, code, _ in keys))
        rows = [
            PlaceRow(
                *results[result],
                terms[code],
                position,
                places.get((result, code, position, "impressions"), 0),
                places.get((result, code, position, "clicks"), 0),
                places.get((result, code, position, "seen"), 0),
            )
            for result, code, position in keys
        ]
        return sorted(
            rows, key=lambda r: (-r.clicks, -r.impressions, r.module_code, r.position, r.url)
        )


def _count_shown(places: Counter[tuple[int, int, int, str]], shown: str, seen: str | None) -> None:
    """Count what a page showed, and what of it was seen; both as JSON."""
    for triple in shown[2:-2].split("],[") if len(shown) > 2 else ():
        result, position, module = map(int, triple.split(","))
        places[result, module, position, "impressions"] += 1
        if seen and f"[{position},{module}," in seen:
            places[result, module, position, "seen"] += 1
