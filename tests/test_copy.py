"""A store moves from SQLite to PostgreSQL: every row, every id, every answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from clickmw.catalog import PANELS
from clickmw.cli import main
from clickmw.events import Click
from clickmw.panels import Look
from clickmw.stores import _sql_copy, open_store
from clickmw.stores.base import Filter, StoredKey, StoreOptions
from clickmw.stores.sqlite import SQLiteStore
from tests.postgres_server import PostgresServer

START_MS = 1_750_000_000_000
DAYS = Filter(first_day=date(2025, 6, 14), last_day=date(2025, 6, 18))
NEXT = "1750000000001-00000000aa"


@pytest.fixture
def source(
    tmp_path: Path, feed_of: Callable[..., Any], days_of_events: Callable[..., Any]
) -> SQLiteStore:
    store = SQLiteStore(tmp_path / "clicks.db", StoreOptions())
    store.add_key(StoredKey("0a0b0c0d", "d" * 64, "read", None, START_MS))
    events = days_of_events(7, START_MS, 4, 30)
    feed = feed_of(store)
    for start in range(0, len(events), 100):
        feed(*events[start : start + 100])
    store.prune(START_MS + 20 * 3_600_000, limit=10_000)
    store.close()
    return store


def copied(source: SQLiteStore, url: str, *words: str) -> Result:
    words = ("copy", "--from", f"sqlite:///{source.path}", "--to", url, *words)
    return CliRunner().invoke(main, words, env={"CLICKMW_JOURNAL": str(source.path.parent / "j")})


def answers(store: Any) -> dict[str, Any]:
    """Return what every panel of the report shows."""
    with closing(store.reader()) as reader:
        subjects = {"query": "tax form", "url": "https://example.org/0"}
        return {
            name: panel.rows(
                Look(reader, DAYS, 50, {}, DAYS.last_day, DAYS, subjects.get(panel.needs, ""))
            )
            for name, panel in PANELS.items()
        }


def test_a_copy_answers_everything_as_before(source: SQLiteStore, postgres_url: str) -> None:
    done = copied(source, postgres_url, "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["broken"] == []
    assert said["rows"]["search"] > 100
    with closing(open_store(postgres_url, StoreOptions())) as store:
        assert answers(store) == answers(source)
        assert (store.watermarks(), store.horizon()) == (source.watermarks(), source.horizon())
        assert store.list_keys() == source.list_keys()
        with closing(store.reader()) as there, closing(source.reader()) as here:
            assert there.ledger() == here.ledger()
    source.close()


def test_the_new_store_goes_on_where_the_old_one_ended(
    source: SQLiteStore, postgres_url: str, feed_of: Callable[..., Any]
) -> None:
    assert copied(source, postgres_url).exit_code == 0
    again = Click(START_MS, "a", "https://example.org/new", 1, "WEB", visitor="ab" * 8)
    stores = [open_store(postgres_url, StoreOptions()), source]
    for store in stores:
        (segment, (taken, _running)) = next(iter(store.watermarks().items()))
        assert store.append(segment, 0, taken, ()) == 0  # what the journal still has is known
        assert feed_of(store, NEXT)(again, again._replace(received_ms=START_MS + 1)) == 2
    assert answers(stores[0]) == answers(stores[1])
    assert stores[0].check() == []
    for store in stores:
        store.close()


def test_a_copy_that_was_interrupted_goes_on_and_takes_no_events_until_then(
    source: SQLiteStore,
    postgres_url: str,
    feed_of: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_sql_copy, "ROWS", 50)
    whole, sizes = _sql_copy._rows, []

    def fail_in_the_middle(*arguments: Any) -> Iterator[Any]:
        for rows in whole(*arguments):
            sizes.append(len(rows))
            if len(sizes) == 12:
                raise OSError("the power is gone")
            yield rows

    with monkeypatch.context() as patch:
        patch.setattr(_sql_copy, "_rows", fail_in_the_middle)
        assert copied(source, postgres_url).exit_code == 1
    with closing(open_store(postgres_url, StoreOptions())) as half:
        state = half.describe()
        assert (state["ok"], "run the same clickmw copy again" in state["error"]) == (False, True)
    assert copied(source, postgres_url).exit_code == 0
    with closing(open_store(postgres_url, StoreOptions())) as store:
        assert answers(store) == answers(source)
    source.close()


def test_nothing_is_copied_onto_events(
    source: SQLiteStore, postgres_url: str, feed_of: Callable[..., Any]
) -> None:
    with closing(open_store(postgres_url, StoreOptions())) as store:
        feed_of(store)(Click(START_MS, "a", "/b", 1, "WEB"))
    done = copied(source, postgres_url)
    assert (done.exit_code, "has events already" in done.output) == (3, True)


def test_what_changed_since_is_not_mixed_with_half_a_copy(
    source: SQLiteStore,
    postgres_url: str,
    feed_of: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any) -> Iterator[Any]:
        raise OSError("the power is gone")

    with monkeypatch.context() as patch:
        patch.setattr(_sql_copy, "_rows", fail)
        copied(source, postgres_url)
    feed_of(source, NEXT)(Click(START_MS, "a", "/b", 1, "WEB"))
    source.close()
    done = copied(source, postgres_url)
    assert (done.exit_code, "has changed since" in done.output) == (3, True)


def test_what_does_not_exist_is_not_copied(tmp_path: Path, postgres: PostgresServer) -> None:
    nothing = SQLiteStore(tmp_path / "nothing.db", StoreOptions())
    done = copied(nothing, postgres.url("never_made"))
    assert (done.exit_code, "there is no database" in done.output) == (3, True)
    assert not nothing.path.exists()
