"""What one append does: rows, who counts, and what that changes in the rollups.

It takes back what the touched rows had added to the rollups, lets the rules of
:mod:`clickmw.counting` decide, and adds what the rows are worth now. A row that did not change
cancels out, so an event that arrives late corrects the past exactly.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

from clickmw.counting import OUR_SOURCES
from clickmw.errors import BadEvent
from clickmw.events import Click, Feedback, Impression, Return, Search, Shown
from clickmw.stores._ledger import add_origins, add_to
from clickmw.stores._sqlite_batch import Batch, result_of
from clickmw.stores._sqlite_clicks import Clicks
from clickmw.stores._sqlite_dictionaries import Dictionaries, result_key
from clickmw.stores._sqlite_digests import Digests, Moved, is_docid
from clickmw.stores._sqlite_repeats import Repeats
from clickmw.stores._sqlite_returns import Returns
from clickmw.stores._sqlite_said import Words
from clickmw.stores._sqlite_searches import Searches
from clickmw.stores._sqlite_seen import mark_seen, write_seen
from clickmw.stores.base import Stored

Results = set[tuple[str, str]]

#: What SQLite and Python say to a value that no column can hold.
UNSTORABLE = (
    BadEvent,
    ValueError,
    TypeError,
    OverflowError,
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
)


def is_unstorable(error: Exception) -> bool:
    """Tell whether *error* is about a value that no column can hold, and about nothing else."""
    # A misuse of the connection is a ProgrammingError too.
    is_no_value = isinstance(error, sqlite3.ProgrammingError) and "binding param" in str(error)
    return is_no_value or isinstance(error, UNSTORABLE)


def take(
    connection: sqlite3.Connection,
    dictionaries: Dictionaries,
    events: Sequence[Stored],
    ledger: dict[str, int],
) -> None:
    """Write *events* in the open transaction, and add to *ledger* what became of them."""
    digests = Digests(connection, dictionaries)
    moved = _learn_texts(connection, dictionaries, digests, events)
    batch = Batch(connection, dictionaries)
    searches, clicks, words = Searches(batch), Clicks(batch, digests), Words(batch)
    returns = Returns(batch)
    fresh = searches.add(events)
    repeats = Repeats(batch)
    repeats.find(events, {search.event_id for search in fresh})
    searches.repeat(fresh, repeats.stored["search"])
    arrived = [*events, *batch.arrived(fresh)]
    made = searches.add_views(arrived)
    mark_seen(batch, [*arrived, *(batch.arrived(made) if made else ())])
    clicks.join_waiting(fresh)
    clicks.add(events)
    clicks.move(moved)
    clicks.find_searches(fresh)
    words.add(events)
    words.join()
    words.repeat(repeats.stored)
    words.decide()
    words.write()
    clicks.repeat(repeats.stored["click"])
    clicks.decide()
    clicks.write()
    returns.add(events)
    clicks.count_own()
    searches.decide()
    searches.settle()
    searches.write()
    write_seen(batch)
    repeats.write()
    returns.settle(click.query_id for click in clicks.states)
    batch.write_rollups()
    same = sum(isinstance(stored.event, Search) for stored in events) - len(fresh)
    add_to(ledger, "stored", len(events) - same)
    add_to(ledger, "dropped.same_query_id", same)
    add_to(ledger, "duplicates", batch.duplicates)
    add_origins(ledger, events)


def _learn_texts(
    connection: sqlite3.Connection,
    dictionaries: Dictionaries,
    digests: Digests,
    events: Sequence[Stored],
) -> list[Moved]:
    """Give all new results and queries of the batch their ids at once."""
    dictionaries.make_room()
    results, queries = texts_of(events, dictionaries.results)
    dictionaries.learn_results(connection, results)
    dictionaries.learn_queries(connection, queries)
    if not digests.on:
        return []
    moved = digests.learn(results)
    clicks = [stored.event for stored in events if isinstance(stored.event, Click)]
    aims = digests.aim([click.doc_id for click in clicks if is_docid(click)])
    dictionaries.learn_results(connection, aims | {(each.url, "") for each in moved})
    digests.expect()
    return moved


def texts_of(events: Sequence[Stored], known: dict[str, int]) -> tuple[Results, list[str]]:
    """Return the results of *events* that are not *known* yet, and all queries."""
    results: Results = set()
    queries: list[str] = []
    for _, event in events:
        if isinstance(event, Search):
            queries.append(event.query)
            results.update(_results_of(event.source, event.impressions, known))
        elif isinstance(event, Click | Return):
            ad_id = event.ad_id if isinstance(event, Click) else ""
            pair = result_of(event.source, event.url, event.doc_id, event.query_id, ad_id)
            if result_key(*pair) not in known:
                results.add(pair)
            if isinstance(event, Click) and event.query and not event.query_id:
                queries.append(event.query)
        elif isinstance(event, Impression):
            if event.query:
                queries.append(event.query)
            shown = event.shown or (Shown("", 0, ""),)
            results.update(_results_of(event.source, shown, known, event.ad_id))
        elif isinstance(event, Feedback) and event.query:
            queries.append(event.query)
    return results, queries


def _results_of(
    source: str, shown: Sequence[Shown], known: dict[str, int], ad_id: str = ""
) -> Iterator[tuple[str, str]]:
    ours = source in OUR_SOURCES
    for url, _position, _module, doc_id, _title in shown:
        if not ours:
            url, doc_id = result_of(source, url, doc_id, "", ad_id)
        if (url if not doc_id else result_key(url, doc_id)) not in known:
            yield url, doc_id
