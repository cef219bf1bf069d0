"""What visitors say and do beyond searching and clicking: ratings, answers, conversions."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from clickmw.events import (
    Answer,
    Click,
    Conversion,
    Event,
    Feedback,
    Search,
    decode_event,
    encode_events,
    new_query_id,
)
from clickmw.journal import Journal, read_records, segment_paths
from clickmw.stores import open_store
from clickmw.stores.base import Store, StoreOptions

NOW = 1_790_000_000_000
PAGE = new_query_id(NOW)
SEARCH = Search(NOW, "default", PAGE, "tax form")
VISITOR = "0123456789abcdef"


def stored(folder: Path, *events: Event) -> tuple[Store, sqlite3.Connection]:
    journal = Journal(folder / "journal")
    for event in events:
        assert journal.write((event,))
    journal.close()
    store = open_store(f"sqlite:///{folder / 'clicks.db'}", StoreOptions())
    for path in segment_paths(journal.folder):
        records = read_records(path, 0, most=1000, sealed=True)
        store.append(path.stem, 0, records[-1].end, records)
    assert store.check() == []
    return store, sqlite3.connect(folder / "clicks.db")


def test_a_rating_belongs_to_the_query_of_its_search(tmp_path: Path) -> None:
    rating = Feedback(NOW + 1, "default", 8, "found it", PAGE, visitor=VISITOR)
    _, database = stored(tmp_path, SEARCH, rating)
    rows = database.execute(
        "SELECT query, score, comment, visitor, counted FROM feedback"
    ).fetchall()
    assert rows == [("tax form", 8, "found it", VISITOR, 1)]


def test_a_rating_without_a_search_keeps_the_query_it_was_sent_with(tmp_path: Path) -> None:
    _, database = stored(tmp_path, Feedback(NOW, "default", None, "", query="tax form"))
    assert database.execute("SELECT query, score, comment FROM feedback").fetchall() == [
        ("tax form", None, None)
    ]


def test_an_answer_is_kept_with_its_question(tmp_path: Path) -> None:
    answer = Answer(NOW, "default", "when is tax day?", "In April.", 1, PAGE, language="en")
    _, database = stored(tmp_path, SEARCH, answer)
    sql = "SELECT query, question, answer, is_question, language FROM answers"
    assert database.execute(sql).fetchall() == [
        ("tax form", "when is tax day?", "In April.", 1, "en")
    ]


def test_a_conversion_is_kept_with_its_value(tmp_path: Path) -> None:
    order = Conversion(NOW, "default", "A-17", 19.5, "EUR", '[{"sku":"x"}]', ad_id="ad-1")
    _, database = stored(tmp_path, order)
    sql = "SELECT order_id, value, currency, items, ad_id, url, query FROM conversions"
    assert database.execute(sql).fetchall() == [
        ("A-17", 19.5, "EUR", '[{"sku":"x"}]', "ad-1", None, None)
    ]


@pytest.mark.parametrize(
    "event",
    [
        Feedback(NOW, "default", 3, drop_reason="robot", robot="googlebot"),
        Answer(NOW, "default", "q", "a", drop_reason="robot", robot="googlebot"),
        Conversion(NOW, "default", "1", drop_reason="robot", robot="googlebot"),
    ],
    ids=lambda event: type(event).__name__,
)
def test_what_robots_say_is_kept_and_not_counted(tmp_path: Path, event: Event) -> None:
    store, database = stored(tmp_path, event)
    view = {"Feedback": "feedback", "Answer": "answers", "Conversion": "conversions"}
    sql = f"SELECT counted, drop_reason FROM {view[type(event).__name__]}"
    assert database.execute(sql).fetchall() == [(0, "robot")]
    reader = store.reader()
    assert (reader.ledger()["stored"], reader.ledger()["robots"]) == (1, 1)


@pytest.mark.parametrize(
    "event",
    [
        Feedback(NOW, "default", 3, "é\u2028", PAGE, language="en"),
        Answer(NOW, "default", "q", "a", None, PAGE),
        Conversion(NOW, "default", "1", 2.5, "USD", "[]", PAGE, url="/thanks"),
    ],
    ids=lambda event: type(event).__name__,
)
def test_they_come_out_of_the_journal_as_they_went_in(event: Event) -> None:
    import json

    assert decode_event(json.loads(encode_events((event,)))[0]) == event


def test_old_ones_are_pruned_like_all_rows(tmp_path: Path) -> None:
    store, database = stored(
        tmp_path, Feedback(NOW, "default", 3), Answer(NOW, "default", "q", "a")
    )
    assert store.prune(NOW + 1, limit=100) == 2
    assert database.execute("SELECT count(*) FROM feedback").fetchall() == [(0,)]


def test_daily_clicks_belong_to_the_host_that_was_clicked(tmp_path: Path) -> None:
    clicks = [
        Click(NOW + n, "default", url, query_id=new_query_id(NOW))
        for n, url in enumerate(("https://a.example/1", "https://a.example/2", "/own"))
    ]
    _, database = stored(tmp_path, *clicks)
    sql = (
        "SELECT advertiser_name, advertiser_slug, advertiser_id > 0, day, clicks FROM daily_clicks"
    )
    assert sorted(database.execute(sql).fetchall()) == [
        ("a.example", "a.example", 1, "2026-09-21", 2),
        ("default", "default", 1, "2026-09-21", 1),
    ]
