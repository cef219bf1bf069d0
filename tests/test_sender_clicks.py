"""What senders of foreign APIs report: any order and any batches give the rows and sums of the rules."""

from __future__ import annotations

import random
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from datetime import date
from hashlib import md5
from typing import Any

import pytest

from clickmw.events import (
    Click,
    Conversion,
    Event,
    Feedback,
    Impression,
    Search,
    Shown,
    query_id_bytes,
)
from clickmw.rollups import TABLES
from clickmw.sites import Site
from clickmw.stores.base import Filter, Stored

#: The tests run on each of these kinds of store.
STORES = ("sqlite", "postgresql")

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY_MS = 24 * HOUR
START_MS = 1_750_000_000_000
ALL_DAYS = Filter(first_day=date(2025, 6, 1), last_day=date(2025, 8, 31))
OURS = ("page", "redirect")
VISITORS = ["aa" * 8, "bb" * 8, ""]
URLS = ["http://a.example/1", "https://a.example/1", "https://b.example/2", "/3"]
WITH_DOCIDS = (Site(handle="default", index_key="testkey"),)


def docid_of(url: str) -> str:
    return md5(url.encode()).hexdigest()


# -- a history -----------------------------------------------------------------------------------


class History:
    """What pages, links and senders could report, made from *seed*."""

    def __init__(self, seed: int, steps: int = 20) -> None:
        self.chance = random.Random(seed)
        self.events: list[Stored] = []
        self.words = [self._words() for _ in range(self.chance.choice([1, 2, 8]))]
        made: list[Callable[[], None]] = [
            self._page,
            self._told,
            self._told,
            self._told,
            self._told,
            self._click_alone,
            self._ad,
            self._order,
        ]
        for _ in range(steps):
            self.chance.choice(made)()

    def _add(self, event: Event) -> None:
        event_id = event.received_ms.to_bytes(6) + self.chance.randbytes(10)
        self.events.append(Stored(event_id, event))

    def _words(self) -> tuple[str, str, str, str]:
        chance = self.chance
        site, source = (
            chance.choice(["default", "other"]),
            chance.choice(["addsearch", "searchstax"]),
        )
        return site, source, chance.choice(["a", "b", ""]), chance.choice(VISITORS)

    def _now(self) -> int:
        chance = self.chance
        return START_MS + chance.choice([0, 0, DAY_MS - MINUTE]) + chance.randrange(12) * 15_000

    def _query_id(self, now: int) -> str:
        return urlsafe_b64encode(now.to_bytes(6) + self.chance.randbytes(6)).decode()

    def _reason(self) -> dict[str, Any]:
        if self.chance.random() < 0.1:
            return {"robot": "bot", "drop_reason": "robot"}
        return {"drop_reason": "trust"} if self.chance.random() < 0.05 else {}

    def _shown(self) -> tuple[Shown, ...]:
        chance = self.chance
        places = range(-1, chance.randrange(4))
        return tuple(
            Shown(chance.choice(URLS), place, chance.choice(["", "M"])) for place in places
        )

    def _page(self) -> None:
        """Make a page of ours, and clicks on its links that we and a sender report."""
        chance, now = self.chance, self._now()
        query_id, shared = self._query_id(now), int(chance.random() < 0.2)
        visitor = "" if shared else chance.choice(VISITORS)
        shown = tuple(each._replace(position=each.position + 2) for each in self._shown())
        search = Search(now, "default", query_id, chance.choice("ab"), shown, 5, visitor=visitor)
        self._add(search._replace(shared=shared, prefetched=int(chance.random() < 0.2)))
        for _ in range(chance.randrange(5)):
            source = chance.choice(["redirect", "searchgov"])
            when = now + chance.choice([0, MINUTE, 29 * MINUTE, 30 * MINUTE, DAY_MS])
            known = visitor if chance.random() < 0.5 else chance.choice(VISITORS)
            click = Click(when, "default", chance.choice(URLS), 1, "M", query_id, visitor=known)
            item, kind = chance.choice(["", "item"]), chance.choice(["result", "source"])
            self._add(click._replace(source=source, doc_id=item, kind=kind, **self._reason()))

    def _told(self) -> None:
        """Make a search that a sender reports, or a click that may belong to one."""
        chance, now = self.chance, self._now()
        site, source, query, visitor = chance.choice(self.words)
        said: dict[str, Any] = {
            "source": source,
            "visitor": visitor,
            "trust": "keyed",
            **self._reason(),
        }
        if chance.random() < 0.5:
            self._add(Search(now, site, self._query_id(now), query, self._shown(), 5, **said))
            return
        key = f"{chance.randrange(4):016x}" if visitor and chance.random() < 0.9 else ""
        url = chance.choice(["", "", *URLS])
        docid = chance.choice([docid_of(chance.choice(URLS)), "", "other"])
        click = Click(
            now, site, url, chance.choice([None, 0, 2]), "", "", docid, query=query, **said
        )
        self._add(
            click._replace(dedupe_key=key, kind=chance.choice(["result", "result", "related"]))
        )

    def _click_alone(self) -> None:
        """Make clicks of a sender that knows no searches."""
        chance, now = self.chance, self._now()
        key = chance.choice(["", "00000000000000aa", "00000000000000bb"])
        for _ in range(chance.randrange(1, 4)):
            now += chance.choice([1, 10 * MINUTE, 30 * MINUTE])
            click = Click(
                now, "default", "https://b.example/2", 1, "BWEB", query="a", dedupe_key=key
            )
            said = {"source": "searchgov", "visitor": chance.choice(VISITORS), **self._reason()}
            self._add(click._replace(**said))

    def _ad(self) -> None:
        chance, now = self.chance, self._now()
        key = chance.choice(["", "00000000000000aa", "00000000000000cc"])
        for _ in range(chance.randrange(1, 5)):
            now += chance.choice([1, 30_000, MINUTE - 1, MINUTE, 40 * MINUTE, HOUR - 1, HOUR])
            ad_id = chance.choice(["ad-1", "ad-2"])
            said = {"source": "vtexads", "ad_id": ad_id, "dedupe_key": key, **self._reason()}
            if chance.random() < 0.5:
                url = chance.choice(["", "https://b.example/2"])
                click = Click(
                    now, "default", url, 1, "ADS", kind="ad", query=chance.choice(["a", ""])
                )
                self._add(click._replace(visitor=chance.choice(VISITORS), **said))
            else:
                kind = chance.choice(["ad_impression", "ad_impression", "ad_view", "related"])
                query = chance.choice(["a", ""])
                self._add(Impression(now, "default", kind, self._shown(), query, **said))

    def _order(self) -> None:
        chance, now = self.chance, self._now()
        key = chance.choice(["", "00000000000000aa"])
        for _ in range(chance.randrange(1, 4)):
            now += chance.choice([1, DAY_MS, 30 * DAY_MS])
            self._add(
                Conversion(now, "default", "A-1", 9.5, "EUR", dedupe_key=key, **self._reason())
            )
        self._add(Feedback(now, "default", 8, query="a", **self._reason()))


# -- the second computation ----------------------------------------------------------------------


class Truth:
    """What *events* are, worked out from the rules as they are written, all of them at once."""

    def __init__(self, events: Iterable[Stored], docids: bool) -> None:
        self.events = sorted(events, key=lambda stored: (stored.event.received_ms, stored.event_id))
        self.docids = docids
        found = [s.event for s in self.events if isinstance(s.event, Search)]
        self.searches = {search.query_id: search for search in found}
        self.reasons = {s.event_id: s.event.drop_reason for s in self.events}
        counted: dict[object, int] = {}
        for event_id, event in self.events:
            key = self.key(event)
            window_ms = self.window_ms(event)
            if key is None or event.drop_reason:
                continue
            if event.received_ms - counted.get(key, -window_ms) < window_ms:
                self.reasons[event_id] = "duplicate"
            else:
                counted[key] = event.received_ms

    def key(self, event: Event) -> object:
        if getattr(event, "dedupe_key", ""):
            return type(event), getattr(event, "kind", ""), event.dedupe_key
        if not isinstance(event, Click) or not event.query_id:
            return None
        page = self.searches[event.query_id]
        visitor = self.visitor(event)
        if page.shared and not visitor:
            return None
        return event.query_id, visitor, event.url, event.doc_id, event.kind

    def window_ms(self, event: Event) -> int:
        if isinstance(event, Click):
            return HOUR if event.kind == "ad" else 30 * MINUTE
        if isinstance(event, Conversion):
            return 30 * DAY_MS
        return MINUTE if getattr(event, "kind", "") == "ad_impression" else 0

    def visitor(self, click: Click) -> str:
        page = self.searches.get(click.query_id)
        if page is None or page.shared or click.source in OURS:
            return click.visitor
        return page.visitor

    def query_id(self, click: Click) -> str:
        if click.query_id or click.source in OURS or not (click.visitor and click.query):
            return click.query_id
        words = (click.source, click.site, click.visitor, click.query)
        same = [
            (search.received_ms, query_id_bytes(search.query_id), search.query_id)
            for search in self.searches.values()
            if (search.source, search.site, search.visitor, search.query) == words
        ]
        now = click.received_ms
        before = [each for each in same if now - DAY_MS <= each[0] <= now]
        after = [each for each in same if now < each[0] <= now + MINUTE]
        return max(before)[2] if before else min(after)[2] if after else ""

    def result(self, click: Click) -> tuple[str, str]:
        if click.source in OURS or click.query_id:
            return click.url, click.doc_id
        if click.url:
            return click.url, ""
        docid = click.doc_id or click.ad_id
        meant = [url for url in self.urls() if docid in map(docid_of, both_forms(url))]
        return (max(meant), "") if self.docids and meant else ("", docid)

    def urls(self) -> set[str]:
        found = {url for _, event in self.events for url in _urls_of(event)}
        return {url for url in found if url.startswith("http")}

    def clicks(self) -> dict[str, tuple[Any, ...]]:
        """Return event id → what the view of clicks shall say."""
        return {
            event_id.hex(): (
                _hex(self.query_id(event)),
                self.visitor(event),
                self.result(event)[0],
                event.doc_id,
                self.reasons[event_id],
                self.searches[event.query_id].query if event.query_id else event.query,
            )
            for event_id, event in self.events
            if isinstance(event, Click)
        }

    def counts(self) -> Counter[str]:
        """Return how many clicks of the report there are, and how many things were shown."""
        found: Counter[str] = Counter()
        for event_id, event in self.events:
            if self.reasons[event_id]:
                continue
            if isinstance(event, Click) and event.kind in ("result", "ad"):
                found["clicks"] += 1
            elif isinstance(event, Impression) and event.kind == "ad_impression":
                found["impressions"] += len(event.shown) or 1
        return found


def _urls_of(event: Event) -> list[str]:
    if isinstance(event, Click):
        return [event.url]
    if isinstance(event, Search):
        return [shown.url for shown in event.impressions]
    return [shown.url for shown in event.shown] if isinstance(event, Impression) else []


def both_forms(url: str) -> list[str]:
    rest = url.partition("://")[2]
    return [f"http://{rest}", f"https://{rest}"]


def _hex(query_id: str) -> str:
    return query_id_bytes(query_id).hex() if query_id else ""


# -- the store against it ------------------------------------------------------------------------


def fill(feed: Callable[..., Any], events: Iterable[Stored], chance: random.Random) -> None:
    """Hand *events* over in random order, in batches of random size."""
    rest = list(events)
    chance.shuffle(rest)
    most = chance.choice([1, 3, 10, 1000])
    while rest:
        size = chance.randint(1, most)
        feed(*rest[:size])
        rest = rest[size:]


def rows(store: Any, sql: str) -> list[tuple[Any, ...]]:
    """Return what *sql* finds in the database of *store*."""
    with closing(store.reader()) as reader:
        return list(reader._rows(sql))


VIEWS = ("clicks", "searches", "impressions", "feedback", "conversions", "daily_clicks")
TEXTS = {
    "site": "(SELECT handle FROM site WHERE id = site)",
    "query": "(SELECT text FROM query WHERE id = query)",
    "result": "(SELECT url || ' ' || doc_id FROM result WHERE id = result)",
}
NUMBERS = {"day", "quarter", "robot", "bucket"}


def sums_of(table: str) -> str:
    """Return SQL for the rows of a rollup with texts in place of ids."""
    key, measures = TABLES[table]
    terms = {name: f"(SELECT text FROM term WHERE id = {name})" for name in key}
    texts = [name if name in NUMBERS else TEXTS.get(name, terms[name]) for name in key]
    some = " OR ".join(f"{name} <> 0" for name in measures)
    return f"SELECT {', '.join([*texts, *measures])} FROM {table} WHERE {some}"


def everything(store: Any) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows that people and the report see, without the numbers of rows."""
    found = {view: rows(store, f"SELECT * FROM {view}") for view in VIEWS}
    found |= {table: rows(store, sums_of(table)) for table in TABLES}
    return {name: sorted(map(repr, each)) for name, each in found.items()}  # type: ignore[misc]


def compare(seed: int, new_store: Callable[..., Any], feed_of: Callable[..., Any]) -> None:
    history = History(seed)
    docids = seed % 2 == 0
    truth = Truth(history.events, docids)
    seen = []
    for order in range(2):
        with closing(new_store(sites=WITH_DOCIDS if docids else ())) as store:
            fill(feed_of(store), history.events, random.Random(seed * 2 + order))
            assert store.check() == []
            seen.append(everything(store))
            sql = "SELECT event_id, query_id, visitor, url, doc_id, drop_reason, query FROM clicks"
            clicks = {each: tuple(one or "" for one in rest) for each, *rest in rows(store, sql)}
            sql = "SELECT event_id, drop_reason FROM {}"
            said = rows(store, sql.format("conversions")) + rows(store, sql.format("feedback"))
            said += rows(store, sql.format("impressions WHERE kind <> 'result'"))
            with closing(store.reader()) as reader:
                totals, ledger = reader.totals(ALL_DAYS), reader.ledger()
            shown = rows(
                store, "SELECT count(*) FROM impressions WHERE kind = 'result' AND counted = 1"
            )
    assert seen[0] == seen[1]
    assert clicks == truth.clicks()
    assert {bytes.fromhex(each): reason or "" for each, reason in said} == {
        event_id: truth.reasons[event_id]
        for event_id, event in truth.events
        if isinstance(event, Impression | Conversion | Feedback)
    }
    counts = truth.counts()
    assert totals.clicks == counts["clicks"]
    assert totals.impressions == counts["impressions"] + shown[0][0]
    assert ledger.get("duplicates", 0) == Counter(truth.reasons.values())["duplicate"]


@pytest.mark.sampled(8)
@pytest.mark.parametrize("seed", range(60))
def test_any_order_gives_the_rows_and_sums_of_the_rules(
    seed: int, new_store: Callable[..., Any], feed_of: Callable[..., Any]
) -> None:
    compare(seed, new_store, feed_of)
