"""A reader that asks its store the same question once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import date
from typing import Any

from clickmw.events import Search, new_query_id
from clickmw.remembering import remembering
from clickmw.stores.base import Filter

NOW = 1_750_000_000_000
JUNE = Filter(first_day=date(2025, 6, 1), last_day=date(2025, 6, 30))
MAY = Filter(first_day=date(2025, 5, 1), last_day=date(2025, 5, 31))


def test_an_answer_is_read_once_and_each_question_has_its_own(
    new_store: Callable[..., Any], feed_of: Callable[..., Any]
) -> None:
    with closing(new_store()) as store, closing(store.reader()) as reader:
        feed = feed_of(store)
        feed(Search(NOW, "default", new_query_id(NOW), "tax", (), 3, visitor="aa" * 8))
        page = remembering(reader)
        first = page.totals(JUNE)
        feed(Search(NOW + 1, "default", new_query_id(NOW + 1), "map", (), 3, visitor="bb" * 8))
        assert page.totals(JUNE) is first
        assert (first.searches, page.totals(MAY).searches, reader.totals(JUNE).searches) == (
            1,
            0,
            2,
        )


def test_another_limit_is_another_question(
    new_store: Callable[..., Any], feed_of: Callable[..., Any]
) -> None:
    with closing(new_store()) as store, closing(store.reader()) as reader:
        for number, query in enumerate(("tax", "map")):
            now = NOW + number
            feed_of(store, f"1750000000000-{number:010x}")(
                Search(now, "default", new_query_id(now), query, (), 3, visitor=f"{number:016x}")
            )
        page = remembering(reader)
        assert [len(page.top_queries(JUNE, limit)) for limit in (1, 2)] == [1, 2]
