"""What the report reads from SQLite: answers to its questions, as rows of the contract."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from heapq import nsmallest
from typing import Any

from clickmw.queries import normal_query
from clickmw.rollups import BILLION, bucket_of
from clickmw.stores import _sqlite_facts as facts
from clickmw.stores import _sqlite_lists as lists
from clickmw.stores import _sqlite_queries as sql
from clickmw.stores._sqlite_check import HORIZON, first_whole
from clickmw.stores._sqlite_drilldowns import DrilldownReader
from clickmw.stores._sqlite_reading import (
    day_date,
    day_number,
    is_by_more,
    mean_of,
    query_row,
)
from clickmw.stores._sqlite_texts import Heard
from clickmw.stores._sqlite_totals import LEAST_OFTEN
from clickmw.stores.base import (
    POSITION_BUCKETS,
    AdvertiserRow,
    DayRow,
    FacetRow,
    Filter,
    LiveRow,
    ModuleRow,
    PositionRow,
    QueryRow,
    ResultRow,
    Totals,
    TrendRow,
    Unnamed,
)

#: How many of the queries that were asked first, and last, say whether most have a text.
SAMPLE = 2_000
#: To look up a query takes as long as to read so many searches in a row.
LOOK_UP = 4
#: Of so many searches lists are made in less than 50 ms without looking elsewhere.
FEW = 150_000


class SQLiteReader(DrilldownReader):
    """A read-only view of the store; answers are a snapshot of the moment each is asked."""

    def __init__(
        self, connection: sqlite3.Connection, hear: Callable[[str], Heard] | None = None
    ) -> None:
        super().__init__(connection, hear)
        self._tallied: tuple[object, Mapping[int, Sequence[int]]] | None = None
        self._summed: dict[tuple[Any, ...], tuple[_Sums, _Sums]] = {}

    def sites(self) -> list[str]:
        """Return the handles of all sites that have events, in order of the alphabet."""
        return [row[0] for row in self._rows("SELECT handle FROM site ORDER BY handle")]

    def disagreements(self) -> list[str]:
        """Return nothing: one host has one set of settings."""
        return []

    def site_zones(self) -> dict[str, str]:
        """Return site → the time zone its days are kept in."""
        return dict(self._rows("SELECT handle, time_zone FROM site"))

    def day_span(self, site: str | None) -> tuple[date, date] | None:
        """Return the first and the last day with events, None when there never were any."""
        first, last = self._rows(sql.DAY_SPAN, {"site": self._site(site)})[0]
        return None if first is None else (day_date(first), day_date(last))

    def totals(self, asked: Filter) -> Totals:
        """Return the sums over the days asked for."""
        bound = self._bind(asked)
        excluded = dict(self._rows(sql.EXCLUDED, bound))
        if asked.text is None:
            sums = [int(value) for value in self._rows(sql.TOTALS, bound)[0]]
            return _totals(sums[:6], sums[6:10], sums[10], excluded, sums[11:])
        searched, clicked = self._all_sums(asked)
        rated = self._rows(facts.RATED, bound)[0]
        return _totals(searched, clicked, None, excluded, rated)

    def daily(self, asked: Filter) -> list[DayRow]:
        """Return every day asked for, in order."""
        days = range(day_number(asked.first_day), day_number(asked.last_day) + 1)
        if asked.text is not None and not self._is_kept_by_day(asked):
            searched, clicked = self._sums(asked, "day")
            return [
                _day_row(day, searched.get(day, _NO_SEARCHES), clicked.get(day, _NO_CLICKS))
                for day in days
            ]
        question, nothing = (
            (sql.DAILY, (0,) * 5) if asked.text is None else (sql.DAYS_OF_TEXT, _NO_DAY)
        )
        found = {row[0]: row[1:] for row in self._rows(question, self._bind(asked))}
        return [DayRow(day_date(day), *found.get(day, nothing)) for day in days]

    def facet(self, asked: Filter, name: str) -> list[FacetRow]:
        """Return the values of a facet, most searched first, then most clicked, then by value."""
        if asked.text is None:
            rows = self._rows(sql.FACET[name], self._bind(asked))
            return [FacetRow(*(*row[:7], mean_of(row[7], row[8]))) for row in rows]
        searched, clicked = self._sums(asked, name)
        found = [
            _facet_row(
                self._word(key), searched.get(key, _NO_SEARCHES), clicked.get(key, _NO_CLICKS)
            )
            for key in {**searched, **clicked}
        ]
        return sorted(found, key=lambda row: (-row.searches, -row.clicks, row.value))

    def top_queries(self, asked: Filter, limit: int) -> list[QueryRow]:
        """Return the most searched queries, then those only clicked."""
        if not self._needs_facts(asked):
            return self._kept("top", asked, limit)
        tally = self._tally(asked)
        found = self._of(asked, limit, [(query, sums[0], 0) for query, sums in tally.items()])
        if len(found) == limit:
            return found
        return found + self._ranked("alone", asked, limit - len(found))

    def queries_without_clicks(self, asked: Filter, limit: int) -> list[QueryRow]:
        """Return the most searched queries that had answers but no click."""
        if not self._needs_facts(asked):
            return self._kept("unclicked", asked, limit)
        searches = {
            query: all_ for query, (all_, _, empty) in self._tally(asked).items() if all_ > empty
        }
        ordered = sorted(searches, key=lambda query: (-searches[query], query))
        bound = {**self._bind(asked, limit), "queries": json.dumps(ordered)}
        left = self._rows(facts.UNCLICKED, bound)
        return self._of(asked, limit, [(query, searches[query], 0) for (query,) in left])

    def queries_without_results(self, asked: Filter, limit: int) -> list[QueryRow]:
        """Return the queries that most often found nothing."""
        read = self._ranked if self._needs_facts(asked) else self._kept
        return read("empty", asked, limit)

    def queries_with_few_clicks(self, asked: Filter, limit: int, *, least: int) -> list[QueryRow]:
        """Return the queries with *least* searches or more that miss most clicks."""
        if not self._needs_facts(asked):
            return self._kept("few", asked, limit, least=least)
        tally = self._tally(asked)
        all_found = sum(searches - empty for searches, _, empty in tally.values())
        all_clicked = sum(clicked for _, clicked, _ in tally.values())
        missed = (
            (query, (searches - empty) * all_clicked - clicked * all_found, searches - empty)
            for query, (searches, clicked, empty) in tally.items()
            if searches - empty >= least
        )
        return self._of(asked, limit, [each for each in missed if each[1] > 0])

    def queries_with_low_ctr(
        self, asked: Filter, limit: int, *, least: int, below: int
    ) -> list[QueryRow]:
        """Return the queries with *least* searches and clicks and fewer than *below* clicks for 100 searches."""
        if not self._needs_facts(asked):
            return self._kept("low", asked, limit, least=least, below=below)
        # With so few clicks most of the searches and clicks are searches.
        searches = {
            query: sums[0]
            for query, sums in self._tally(asked).items()
            if (100 + below) * sums[0] >= 100 * least
        }
        bound = {**self._bind(asked), "queries": json.dumps([*searches])}
        low = [
            (query, -clicks / searches[query], searches[query])
            for query, clicks in self._rows(facts.CLICKED, bound)
            if searches[query] + clicks >= least and 100 * clicks < below * searches[query]
        ]
        return self._of(asked, limit, low)

    def queries_clicked_deep(
        self, asked: Filter, limit: int, *, least: int, deeper: int
    ) -> list[QueryRow]:
        """Return the queries whose *least* or more placed clicks stand *deeper* on average."""
        read = self._ranked if self._needs_facts(asked) else self._kept
        return read("deep", asked, limit, least=least, deeper=deeper)

    def trending_queries(
        self, asked: Filter, before: Filter, limit: int, *, least: int
    ) -> list[TrendRow]:
        """Return the queries whose searches have grown most."""
        if not self._needs_facts(asked, before):
            short = self._is_short({**self._bind(asked), "least": least})
            question = lists.TRENDING_OFTEN if short else lists.TRENDING_QUERIES
            return self._trends(question, asked, before, limit, least)
        earlier = replace(asked, first_day=before.first_day, last_day=before.last_day)
        was = self._tally(earlier)
        grown = [
            (query, sums[0], was[query][0] if query in was else 0)
            for query, sums in self._tally(asked).items()
            if sums[0] >= least
        ]
        return self._grown([each for each in grown if each[1] > each[2]], limit)

    def trending_results(
        self, asked: Filter, before: Filter, limit: int, *, least: int
    ) -> list[TrendRow]:
        """Return the results whose clicks have grown most."""
        is_kept = not self._needs_facts(asked, before) and asked.text is None
        question = lists.TRENDING_RESULTS if is_kept else self._questions(asked).trending_results
        return self._trends(question, asked, before, limit, least)

    def top_results(self, asked: Filter, limit: int) -> list[ResultRow]:
        """Return the most clicked results."""
        bound = self._bind(asked, limit)
        if self._needs_facts(asked) or not self._has_all_clicks(asked):
            return self._results(self._questions(asked).top_results, bound)
        found = self._results(lists.TOP_RESULTS, bound)
        if asked.text is None and not is_by_more(asked):
            return found
        return [replace(row, impressions=None) for row in found]

    def results_without_clicks(self, asked: Filter, limit: int, *, least: int) -> list[ResultRow]:
        """Return the results that were shown most and never clicked, by site and days only."""
        bound = self._bind(asked, limit, least=least)
        bound["queries"] = self._shown_most(bound)
        bound["bar"] = self._rows(lists.UNCLICKED_BAR, bound)[0][0]
        bound["queries"] = self._rows(lists.UNCLICKED_FEW, bound)[0][0]
        return self._results(lists.UNCLICKED_RESULTS, bound)

    def _shown_most(self, bound: dict[str, Any]) -> str:
        """Return a list of ids: what each site has shown most of what was not clicked."""
        most: set[int] = set()
        for (place,) in self._rows(lists.PLACES, bound):
            found = self._rows(lists.UNCLICKED_MOST, {**bound, "place": place})
            most.update(result for (result,) in found)
        return json.dumps(sorted(most))

    def positions(self, asked: Filter) -> list[PositionRow]:
        """Return impressions and clicks by position, module by module."""
        if asked.text is None:
            rows = self._rows(sql.POSITIONS, self._bind(asked))
            return [_position_row(module, bucket, *sums) for module, bucket, *sums in rows]
        found = {
            (self._word(module), bucket): clicks
            for (module, bucket), clicks in self._placed(asked).items()
            if clicks
        }
        return [_position_row(*place, None, clicks) for place, clicks in sorted(found.items())]

    def modules(self, asked: Filter) -> list[ModuleRow]:
        """Return impressions and clicks by module, most clicked first."""
        if asked.text is None:
            rows = self._rows(sql.MODULES, self._bind(asked))
            return [ModuleRow(*(*row[:3], mean_of(row[3], row[4]))) for row in rows]
        _searched, clicked = self._sums(asked, "module")
        found = [
            ModuleRow(self._word(key), None, clicks, mean_of(positions, positioned))
            for key, (clicks, positioned, positions, _) in clicked.items()
        ]
        return sorted(found, key=lambda row: (-row.clicks, row.module_code))

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
            "sites": None if sites is None else json.dumps(list(sites)),
            "limit": limit,
            "offset": offset,
        }
        rows = self._rows(sql.DAILY_CLICKS, asked)
        found = [AdvertiserRow(day_date(row[1]), *row[2:]) for row in rows if row[1] is not None]
        return rows[0][0], found

    def common_queries(
        self, asked: Filter, *, visitors: int, among: frozenset[str] | None = None
    ) -> frozenset[str]:
        """Return the queries that so many *visitors* or more searched or clicked on."""
        bound = {**self._bind(asked), "least": visitors}
        if among is None:
            return frozenset(text for (text,) in self._rows(facts.COMMON_QUERIES, bound))
        bound["among"] = json.dumps(sorted(among))
        return frozenset(text for (text,) in self._rows(facts.COMMON_AMONG, bound))

    def unnamed_queries(self, asked: Filter) -> Unnamed | None:
        """Return what the queries that *asked* does not name add up to; None when it names none."""
        if asked.named is None:
            return None
        question = facts.UNNAMED if is_by_more(asked) else facts.UNNAMED_KEPT
        queries, *sums = self._rows(question, self._bind(asked))[0]
        return Unnamed(queries, query_row(["", *sums]))

    def live(self, limit: int) -> list[LiveRow]:
        """Return the last events as they were stored, newest first."""
        rows = [row for each in sql.LIVE for row in self._rows(each, {"limit": limit})]
        tail = sorted(rows, key=lambda row: row[0], reverse=True)[:limit]
        return [LiveRow(*row) for row in tail]

    def ledger(self) -> dict[str, int]:
        """Return the cumulative ledger, and ``unjoined``: clicks whose search has not arrived."""
        ledger = dict(self._rows("SELECT name, events FROM ledger"))
        return {**ledger, "unjoined": self._rows(sql.UNJOINED)[0][0]}

    def watermarks(self) -> dict[str, tuple[int, int]]:
        """Return segment name → (bytes taken in, writer's running count there)."""
        rows = self._rows("SELECT name, taken, running FROM segment")
        return {name: (taken, running) for name, taken, running in rows}

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    # -- parts of the above ------------------------------------------------------------------------

    def _kept(self, name: str, asked: Filter, limit: int, **more: int) -> list[QueryRow]:
        """Return a list of queries as the rollups have it."""
        bound = self._bind(asked, limit, **more)
        found = [
            query_row(row) for row in self._rows(self._kept_question(name, asked, bound), bound)
        ]
        return [replace(row, impressions=None) for row in found] if is_by_more(asked) else found

    def _kept_question(self, name: str, asked: Filter, bound: dict[str, Any]) -> str:
        """Return the shortest way to a list; *bound* learns what it needs besides."""
        if name in lists.BARS:
            if self._has_few(asked):
                return lists.OF_FEW_DAYS[name]
            bound["least"] = self._rows(lists.BARS[name], bound)[0][0]
        elif name == "few":
            bound["every_found"], bound["every_clicked"] = self._every_search(asked, bound)
        is_short = name in lists.OF_OFTEN and self._is_short(bound)
        return lists.OF_OFTEN[name] if is_short else lists.QUERIES[name]

    def _every_search(self, asked: Filter, bound: Mapping[str, object]) -> Sequence[int]:
        """Return how many searches with the text found something, and how many were clicked."""
        if asked.text is None:
            return self._rows(lists.EVERY_SEARCH, bound)[0]  # type: ignore[no-any-return]
        by_day = self._way(asked) == "days"
        return self._rows(lists.EVERY_WITH_TEXT_LAST if by_day else lists.EVERY_OF_TEXT, bound)[0]  # type: ignore[no-any-return]

    def _is_short(self, bound: Mapping[str, Any]) -> bool:
        """Tell whether few queries are asked or clicked *least* times, and the index knows them all."""
        if bound["matching"] is not None or bound["least"] < LEAST_OFTEN:
            return False
        known = {**bound, "most": self._queries() // lists.SHORT}
        return bool(self._rows(lists.IS_SHORT, known)[0][0])

    def _ranked(self, name: str, asked: Filter, limit: int, **more: int) -> list[QueryRow]:
        """Return a list of queries as the facts have it."""
        ranked = self._rows(self._questions(asked).ranked[name], self._bind(asked, limit, **more))
        return self._of(asked, limit, ranked)

    def _tally(self, asked: Filter) -> Mapping[int, Sequence[int]]:
        """Return for each query how often it was searched, clicked, and searched with no result.

        The lists of one page ask for the same; the last answer is kept while nothing is written.
        """
        moment = asked, self._version()
        if self._tallied is None or self._tallied[0] != moment:
            read = self._tally_by_query if self._has_many(asked) else self._tally_by_day
            self._tallied = moment, read(asked)
        return self._tallied[1]

    def _has_many(self, asked: Filter) -> bool:
        """Tell whether to look up every query takes less time than to count every search."""
        if asked.text is not None:
            return self._way(asked) == "queries"
        return self._searches(asked) > 2 * self._queries()

    def _needs_facts(self, asked: Filter, before: Filter | None = None) -> bool:
        """Tell whether the sums by query do not have the answer, in the days *before* neither.

        They have it where further filters leave nothing out, as the only language of a site does.
        """
        if not is_by_more(asked):
            return False
        periods = (asked, before) if before else (asked,)
        return not all(self._leaves_nothing_out(asked, period) for period in periods)

    def _leaves_nothing_out(self, asked: Filter, period: Filter) -> bool:
        """Tell whether as much is asked for as without further filters, of days whose raw rows are all there."""
        days = replace(asked, first_day=period.first_day, last_day=period.last_day)
        if asked.robots or not self._is_whole(days):
            return False
        every = Filter(first_day=days.first_day, last_day=days.last_day, site=asked.site)
        some, all_ = (self._rows(sql.SUMS[""], self._bind(each))[0] for each in (days, every))
        return (some[1], some[7]) == (all_[1], all_[7])

    def _has_few(self, asked: Filter) -> bool:
        """Tell whether to read the days takes less time than to look through the queries of all days."""
        return self._searches(asked) < self._few()

    def _few(self) -> float:
        """Return of how many searches the days are read."""
        return min(1.5 * self._queries(), FEW)

    def _searches(self, asked: Filter) -> int:
        return int(self._rows(sql.SUMS[""], self._bind(asked))[0][1])

    def _queries(self) -> int:
        """Return how many queries there are at most."""
        return int(self._rows(facts.LAST_QUERY)[0][0])

    def _tally_by_query(self, asked: Filter) -> dict[int, Sequence[int]]:
        question = facts.TALLY_BY_QUERY if asked.text is None else facts.TALLY_OF_TEXT
        rows = self._rows(question, self._bind(asked))
        return {query: sums for query, *sums in rows}

    def _tally_by_day(self, asked: Filter) -> dict[int, Sequence[int]]:
        marked: Counter[int] = Counter()
        question = facts.TALLY_BY_DAY if asked.text is None else facts.TALLY_WITH_TEXT_LAST
        for (marks,) in self._rows(question, self._bind(asked)):
            marked.update(json.loads(marks))
        tally: dict[int, list[int]] = {}
        for mark, count in marked.items():
            sums = tally.setdefault(mark >> 2, [0, 0, 0])
            sums[0] += count
            sums[1] += count if mark & 2 else 0
            sums[2] += count if mark & 1 else 0
        return {**tally}

    def _grown(self, grown: Iterable[tuple[int, int, int]], limit: int) -> list[TrendRow]:
        """Return those of *grown* (a query, its searches now and before) that grew most."""
        best = nsmallest(limit, grown, key=lambda row: (_growth(*row[1:]), -row[1], row[0]))
        texts = self._query_texts([query for query, *_ in best])
        return [TrendRow(texts[query], None, now, before) for query, now, before in best]

    def _query_texts(self, ids: Sequence[int]) -> Mapping[int, str]:
        return dict(self._rows(facts.TEXTS, {"queries": json.dumps(ids)}))

    def _of(
        self, asked: Filter, limit: int, ranked: Iterable[tuple[int, float, int]]
    ) -> list[QueryRow]:
        """Return the first *limit* queries of *ranked*, each with two weights; the largest come first."""
        best = nsmallest(limit, ((-first, -second, query) for query, first, second in ranked))
        bound = {**self._bind(asked), "queries": json.dumps([query for *_, query in best])}
        rows = self._rows(facts.QUERY_ROWS, bound)
        weighed = [
            (first, second, row[0], _counted_row(*row))
            for (first, second, _), row in zip(best, rows, strict=True)
        ]
        return [row for *_, row in sorted(weighed, key=lambda each: each[:3])]

    def _results(self, question: str, bound: Mapping[str, object]) -> list[ResultRow]:
        rows = self._rows(question, bound)
        return [ResultRow(*(*row[:4], mean_of(row[4], row[5]))) for row in rows]

    def _trends(
        self, question: str, asked: Filter, before: Filter, limit: int, least: int
    ) -> list[TrendRow]:
        return [TrendRow(*row) for row in self._both(question, asked, before, limit, least)]

    def _both(
        self, question: str, asked: Filter, before: Filter, limit: int, least: int
    ) -> list[Any]:
        """Return the rows of a *question* about two periods."""
        bound = self._bind(
            asked,
            limit,
            least=least,
            before_first=day_number(before.first_day),
            before_last=day_number(before.last_day),
        )
        return self._rows(question, bound)

    def _all_sums(self, asked: Filter) -> tuple[Sequence[int], Sequence[int]]:
        """Return the sums of searches and of clicks with a text: of all days, where these are read anyway."""
        if self._way(asked) != "days":
            searched, clicked = self._sums(asked, "")
            return searched[0], clicked[0]
        by_day = self._sums(asked, "day")
        searched_sums, clicked_sums = (
            [sum(column) for column in zip(nothing, *sums.values(), strict=True)]
            for nothing, sums in zip((_NO_SEARCHES, _NO_CLICKS), by_day, strict=True)
        )
        return searched_sums, clicked_sums

    def _sums(self, asked: Filter, name: str) -> tuple[_Sums, _Sums]:
        """Return the sums of searches and of clicks with a text, by one column's values.

        Several parts of a page ask for the same; an answer is kept while nothing is written.
        """
        moment = asked, name, self._version()
        if moment not in self._summed:
            self._summed = {
                known: sums for known, sums in self._summed.items() if known[-1] == moment[-1]
            }
            self._summed[moment] = self._read_sums(asked, name)
        return self._summed[moment]

    def _read_sums(self, asked: Filter, name: str) -> tuple[_Sums, _Sums]:
        bound = self._bind(asked)
        way = self._way(asked)
        if way == "others":
            return self._sums_of_most(bound, name)
        of = _WITH_TEXT[way]
        clicked = self._rows(of.clicked[name], bound)
        return (
            {key: sums for key, *sums in self._searched(of, bound, name)},
            {key: sums for key, *sums in clicked},
        )

    def _searched(self, of: facts.Sums, bound: Mapping[str, object], name: str) -> list[Any]:
        """Return sums of searches; a search has no module."""
        return self._rows(of.searched[name], bound) if name in of.searched else []

    def _sums_of_most(self, bound: Mapping[str, object], name: str) -> tuple[_Sums, _Sums]:
        """Return the same: those of all queries less those of the queries without the text."""
        whole = self._rows(sql.SUMS[name], bound)
        searched = {key: sums[:6] for key, *sums in whole}
        clicked = {key: sums[6:] for key, *sums in whole}
        for rest in (facts.OTHERS, facts.NOTHING):
            _take_away(searched, self._searched(rest, bound, name))
            _take_away(clicked, self._rows(rest.clicked[name], bound))
        return tuple(  # type: ignore[return-value]
            {key: sums for key, sums in kept.items() if sums[0] or not name}
            for kept in (searched, clicked)
        )

    def _placed(self, asked: Filter) -> Counter[tuple[int, int]]:
        """Return the clicks with a text by module and bucket of positions."""
        bound = self._bind(asked)
        found: Counter[tuple[int, int]] = Counter()
        way = self._way(asked)
        if way != "others":
            _count_places(found, self._rows(_WITH_TEXT[way].placed, bound))
            return found
        for rest in (facts.OTHERS, facts.NOTHING):
            _count_places(found, self._rows(rest.placed, bound))
        found.subtract({(row[0], row[1]): row[2] for row in self._rows(sql.PLACED, bound)})
        return Counter({place: -clicks for place, clicks in found.items()})

    def _questions(self, asked: Filter) -> facts.Questions:
        if asked.text is None:
            return facts.OF_DAYS
        return facts.OF_TEXT if self._way(asked) == "queries" else facts.OF_MOST

    def _way(self, asked: Filter) -> str:
        """Return what to read of a text: the "queries" that have it, the "others", or all searches of the "days".

        What takes least time: each query is looked up, each search of the days is read.
        """
        if self._hear is None or asked.named is not None:
            return "others" if self._is_in_most(asked) else "queries"
        heard = self._queries_with(normal_query(asked.text or ""))
        count, others = heard.queries, self._queries() - heard.queries
        costs = {"queries": LOOK_UP * count, "days": self._searches(asked)}
        if self._is_whole(asked):
            costs["others"] = LOOK_UP * others
        return min(costs, key=lambda way: costs[way])

    def _is_in_most(self, asked: Filter) -> bool:
        """Tell whether to read what has not the text seems to take less time than what has it.

        Both take time for each query and for each search. Of days whose raw rows are all there.
        """
        if asked.named is not None or not self._is_whole(asked):
            return False
        bound = {**self._bind(asked), "sample": SAMPLE}
        searches, queries = self._searches(asked), self._queries()
        more = 0.0
        for count, question in ((searches, facts.HEARD_FIRST), (2 * queries, facts.HEARD_LAST)):
            heard, asked_for = self._rows(question, bound)[0]
            more += count * (2 * heard / asked_for - 1) if asked_for else 0
        return more > 0

    def _has_all_clicks(self, asked: Filter) -> bool:
        """Tell whether each click is on a query with the text; False also where it is not worth a look."""
        if asked.text is None:
            return True
        bound = self._bind(asked)
        return self._way(asked) == "others" and not any(
            self._rows(rest.clicks, bound) for rest in (facts.OTHERS, facts.NOTHING)
        )

    def _is_kept_by_day(self, asked: Filter) -> bool:
        """Tell whether the sums by query are the shortest way to the days of a text."""
        if is_by_more(asked) or self._way(asked) != "queries":
            return False
        return self._is_whole(asked)

    def _is_whole(self, asked: Filter) -> bool:
        """Tell whether the raw rows are all there that the rollups were made of."""
        return day_number(asked.first_day) >= first_whole("cube", self._rows(HORIZON)[0][0])

    def _word(self, term: int) -> str:
        return str(self._rows("SELECT text FROM term WHERE id = ?", (term,))[0][0])


_Sums = Mapping[int, Sequence[int]]
#: What is read of a text (see ``_way``) → where that is asked.
_WITH_TEXT = {"queries": facts.WITH_TEXT, "days": facts.WITH_TEXT_LAST}
_NO_SEARCHES = (0,) * 6
_NO_CLICKS = (0,) * 4
#: A day of a text: searches, clicked and empty ones, clicks; impressions are not kept by text.
_NO_DAY = (0, 0, 0, 0, None)


def _take_away(kept: Mapping[int, list[int]], rows: Iterable[Sequence[int]]) -> None:
    """Take the sums of *rows* (a key and its sums) from those that are *kept*."""
    for key, *sums in rows:
        for index, value in enumerate(sums if key in kept else ()):
            kept[key][index] -= value


def _count_places(found: Counter[tuple[int, int]], rows: Iterable[Sequence[int]]) -> None:
    for module, position, clicks in rows:
        found[module, bucket_of(position)] += clicks


def _totals(
    searched: Sequence[int],
    followed: Sequence[int],
    impressions: int | None,
    excluded: Mapping[str, int],
    rated: Sequence[int],
) -> Totals:
    searches, clicked, known, empty, unclicked, reciprocal = searched
    clicks, positioned, positions, click_reciprocal = followed
    ratings, scores, squares = rated
    return Totals(
        searches=searches,
        searches_clicked=clicked,
        searches_known=known,
        searches_empty=empty,
        searches_answered_unclicked=unclicked,
        search_reciprocal_sum=reciprocal / BILLION,
        clicks=clicks,
        clicks_positioned=positioned,
        position_sum=positions,
        click_reciprocal_sum=click_reciprocal / BILLION,
        impressions=impressions,
        excluded=excluded,
        ratings=ratings,
        score_sum=scores,
        score_square_sum=squares,
    )


def _growth(now: int, before: int) -> float:
    """Return the square of (now - before) / √(now + before), less than 0."""
    return -((now - before) ** 2) / (now + before)


def _counted_row(query: str, searched: str, followed: str) -> QueryRow:
    clicks, positioned, positions = json.loads(followed)
    row = (query, *json.loads(searched), clicks, None, positions, positioned)
    return query_row(row)


def _day_row(day: int, searched: Sequence[int], clicked: Sequence[int]) -> DayRow:
    return DayRow(day_date(day), searched[0], searched[1], searched[3], clicked[0], None)


def _facet_row(value: str, searched: Sequence[int], clicked: Sequence[int]) -> FacetRow:
    searches, searches_clicked, known, empty, *_ = searched
    clicks, positioned, positions, _ = clicked
    mean = mean_of(positions, positioned)
    return FacetRow(value, searches, searches_clicked, known, empty, clicks, None, mean)


def _position_row(module: str, bucket: int, impressions: int | None, clicks: int) -> PositionRow:
    return PositionRow(module, *POSITION_BUCKETS[bucket], impressions, clicks)
