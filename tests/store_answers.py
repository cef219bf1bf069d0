"""Everything that a reader can be asked, to compare the answers of two stores with the same events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from itertools import groupby
from typing import Any

from clickmw.stores._sqlite_queries import FACETS
from clickmw.stores.base import Filter, Reader, TrendRow

EVERYTHING = 1000


Question = tuple[str, Callable[[], Any]]


def questions_of(
    reader: Reader, asked: Filter, queries: tuple[str, ...], urls: tuple[str, ...]
) -> Iterator[Question]:
    """Yield everything that *reader* can be asked under one filter, each with a name."""
    days = (asked.last_day - asked.first_day).days + 1
    before = Filter(
        first_day=asked.first_day - timedelta(days), last_day=asked.last_day - timedelta(days)
    )
    middle = asked.first_day + timedelta(days // 2)
    late = Filter(**{**_fields(asked), "first_day": middle})
    early = Filter(first_day=asked.first_day, last_day=middle - timedelta(1))
    some = EVERYTHING
    questions: dict[str, Callable[[], Any]] = {
        "totals": lambda: reader.totals(asked),
        "daily": lambda: reader.daily(asked),
        "top_queries": lambda: reader.top_queries(asked, some),
        "top_results": lambda: reader.top_results(asked, some),
        "positions": lambda: reader.positions(asked),
        "modules": lambda: reader.modules(asked),
        "without_clicks": lambda: reader.queries_without_clicks(asked, some),
        "without_results": lambda: reader.queries_without_results(asked, some),
        "few_clicks": lambda: reader.queries_with_few_clicks(asked, some, least=2),
        "low_ctr": lambda: reader.queries_with_low_ctr(asked, some, least=2, below=90),
        "deep": lambda: reader.queries_clicked_deep(asked, some, least=1, deeper=2),
        "unclicked": lambda: reader.results_without_clicks(asked, some, least=1),
        "trending_queries": lambda: _grown(reader.trending_queries(late, early, some, least=1)),
        "trending_results": lambda: _grown(reader.trending_results(late, early, some, least=1)),
        "new_queries": lambda: _grown(reader.trending_queries(asked, before, some, least=1)),
        "sessions": lambda: reader.sessions(asked, searches=some, limit=some),
        "sessions_of_few": lambda: reader.sessions(asked, searches=20, limit=3),
        "common": lambda: [
            reader.common_queries(asked, visitors=least, among=among)
            for least in (1, 2, 5)
            for among in (None, frozenset((*queries, "never asked")))
        ],
        "unnamed": lambda: [
            reader.unnamed_queries(replace(asked, named=named))
            for named in (None, frozenset(), frozenset(queries))
        ],
        **{f"facet {name}": _asking(reader, asked, name) for name in FACETS},
    }
    for query in queries:
        questions |= {
            f"days of {query}": lambda q=query: reader.query_days(asked, q),
            f"dwell of {query}": lambda q=query: reader.query_dwell(asked, q, clicks=some),
            f"beside {query}": lambda q=query: reader.query_neighbours(
                asked, q, searches=some, limit=some
            ),
            f"explain {query}": lambda q=query: reader.explain_query(asked, q, searches=some),
        }  # type: ignore[dict-item,misc]
    for url in urls:
        questions |= {
            f"queries of {url}": lambda u=url: reader.result_queries(asked, u, some),
            f"days of {url}": lambda u=url: reader.result_days(asked, u),
            f"places of {url}": lambda u=url: reader.result_positions(asked, u),
        }  # type: ignore[dict-item,misc]
    yield from questions.items()


def general_questions(reader: Reader, first_day: date, last_day: date) -> Iterator[Question]:
    """Yield everything that is asked without a filter, each with a name."""
    sites = reader.sites
    yield "sites", sites
    yield "zones", lambda: sorted(reader.site_zones().items())
    yield "span", lambda: [reader.day_span(site) for site in (None, *sites(), "nowhere")]
    yield "clicks", lambda: reader.daily_clicks(first_day, last_day, None, limit=EVERYTHING)
    yield (
        "page of clicks",
        lambda: reader.daily_clicks(first_day, last_day, sites()[:1], limit=3, offset=2),
    )
    yield "no clicks", lambda: reader.daily_clicks(first_day, last_day, [], limit=3)
    yield "ledger", lambda: {name: count for name, count in reader.ledger().items() if count}
    yield "disagreements", reader.disagreements
    yield "live", lambda: sorted(reader.live(EVERYTHING), key=repr)


def _asking(reader: Reader, asked: Filter, name: str) -> Callable[[], Any]:
    return lambda: reader.facet(asked, name)


def _fields(asked: Filter) -> dict[str, Any]:
    return {name: getattr(asked, name) for name in Filter.__slots__}


def _grown(rows: list[TrendRow]) -> list[Any]:
    """Return *rows* with those that grew alike in order of the alphabet: which comes first is not said."""
    alike = groupby(rows, key=lambda row: (row.now, row.before))
    return [(key, sorted(group, key=lambda row: row.text)) for key, group in alike]
