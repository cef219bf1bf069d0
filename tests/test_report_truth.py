"""Every number of the report against a second computation over a long, untidy history.

The history has people who type, reload, turn pages and search again, robots, senders of foreign
APIs with and without names, ads, ratings, two calendars of which one sets its clocks back, and events
that are late. The second computation below knows the rules as they are
written in the documentation, and nothing of how the store applies them.
"""

from __future__ import annotations

import csv
import io
import random
from base64 import urlsafe_b64encode
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from itertools import pairwise
from math import sqrt
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import pytest
from bs4 import BeautifulSoup
from webtest import TestApp

from clickmw import ClickMW
from clickmw.catalog import PANELS
from clickmw.events import Click, Event, Feedback, Impression, Search, Shown
from clickmw.stores.base import Filter, Stored
from clickmw.terminal import report_facts

pytestmark = [pytest.mark.wide, pytest.mark.sampled(9)]

#: The tests run on each of these kinds of store.
STORES = ("sqlite", "postgresql")

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
ZONES = {"nps.gov": "America/New_York", "shop": "Asia/Kolkata"}
#: In New York the clocks are set back on the first of November: that day has 25 hours.
FIRST_DAY, LAST_DAY = date(2026, 10, 20), date(2026, 11, 12)
BEGIN_MS = int(datetime(2026, 10, 21, tzinfo=UTC).timestamp() * 1000)
DAYS = 21
SEED = 20261121
KEY = "a key that sees every site"
SEARCHES = 20_000
WORDS = [
    "tax",
    "form",
    "permit",
    "map",
    "job",
    "park",
    "trail",
    "fee",
    "pass",
    "camp",
    "guide",
    "history",
    "visit",
    "ranger",
    "bison",
]
DAY_NUMBERS = ("searches", "searches_clicked", "searches_empty", "clicks", "impressions")
MODULES = {"BWEB": "Web", "BOOS": "Recommended", "I14Y": "Index"}
LADDER = [*((n, n) for n in range(1, 21)), (21, 30), (31, 50), (51, 100), (101, 10**9)]


# -- a history -------------------------------------------------------------------------------------


class History:
    """What happened, event by event; who counts is not said anywhere."""

    def __init__(self, seed: int, searches: int) -> None:
        self.chance = random.Random(seed)
        self.events: list[Stored] = []
        self.queries = [self._words() for _ in range(600)]
        self.searches = 0
        while self.searches < searches:
            self._somebody()

    def _words(self) -> str:
        return " ".join(self.chance.sample(WORDS, self.chance.choice([1, 1, 2, 2, 3])))

    def _add(self, event: Event) -> None:
        event_id = event.received_ms.to_bytes(6) + self.chance.randbytes(10)
        self.events.append(Stored(event_id, event))

    def _id(self, now: int) -> str:
        return urlsafe_b64encode(now.to_bytes(6) + self.chance.randbytes(6)).decode()

    def _hex(self) -> str:
        return self.chance.randbytes(8).hex()

    def _somebody(self) -> None:
        """One visitor's hour, or one sender's."""
        chance = self.chance
        site = chance.choice(["nps.gov", "nps.gov", "shop"])
        now = BEGIN_MS + chance.randrange(DAYS * DAY)
        who = chance.random()
        traits: dict[str, Any] = {
            "site": site,
            "device": chance.choice(["desktop", "desktop", "mobile", "tablet"]),
            "visitor": self._hex() if chance.random() < 0.93 else "",
        }
        if who < 0.06:
            traits |= {"robot": "curl", "drop_reason": "robot"}
        if who > 0.88:
            self._sender(site, now)
        else:
            self._person(traits, now)

    def _person(self, traits: dict[str, Any], now: int) -> None:
        chance = self.chance
        more = {
            "language": chance.choice(["en", "en", "es", ""]),
            "profile": chance.choice(["", "docs"]),
        }
        for _ in range(chance.choice([1, 1, 1, 2, 3, 5])):
            query = chance.choice(self.queries[: chance.choice([5, 60, 600])])
            if chance.random() < 0.15 and len(query) > 4:
                self._page(traits | more, now, query[: chance.randrange(1, len(query))])
                now += chance.choice([2_000, 9_000, 30_000, 30_001])
            self._page(traits | more, now, query)
            if chance.random() < 0.1:
                now += chance.choice([MINUTE, 29 * MINUTE, 30 * MINUTE, 45 * MINUTE])
                self._page(traits | more, now, query, offset=chance.choice([0, 10]))
            now += chance.choice([20_000, 2 * MINUTE, 6 * MINUTE, 31 * MINUTE])

    def _page(self, traits: dict[str, Any], now: int, query: str, offset: int = 0) -> None:
        chance = self.chance
        self.searches += 1
        hits = chance.choice([None, 0, 3, 40, 400, 400, 400])
        shown = () if hits == 0 else tuple(self._results(query, offset))
        query_id = self._id(now)
        reason = traits.get("drop_reason") or chance.choice([""] * 30 + ["trust"])
        self._add(
            Search(now, query_id=query_id, query=query, impressions=shown, total_hits=hits,
                   offset=offset, **{**traits, "drop_reason": reason})
        )  # fmt: skip
        for place in shown:
            if chance.random() < 0.25 / (place.position + 0.3):
                self._click(traits, now, query_id, place)
        if chance.random() < 0.03:
            rated = {**traits, "score": chance.choice([None, 0, 3, 7, 9, 10]), "query_id": query_id}
            self._add(Feedback(now + MINUTE, **rated))

    def _results(self, query: str, offset: int) -> Iterator[Shown]:
        seed = random.Random(query)
        for module, length in (("BOOS", 1), ("BWEB", 6)):
            for place in range(1, 1 + seed.choice([length, length - 1])):
                url = f"https://www.example.org/{query.split()[0]}/{seed.randrange(40)}"
                position = place + (offset if module == "BWEB" else 0)
                yield Shown(url, position * self.chance.choice([1] * 9 + [9]), module)

    def _click(self, traits: dict[str, Any], now: int, query_id: str, place: Shown) -> None:
        chance = self.chance
        now += chance.choice([3_000, 20_000, MINUTE, 25 * MINUTE, DAY - 1, DAY + 1])
        reason = traits.get("drop_reason") or chance.choice([""] * 20 + ["external", "stale"])
        bare = {name: traits[name] for name in ("site", "device", "visitor")}
        for pause in chance.choice([[0], [0], [0], [0, 1000], [0, 10 * MINUTE, 31 * MINUTE]]):
            self._add(
                Click(now + pause, url=place.url, position=chance.choice([place.position] * 9 + [None]),
                      module_code=place.module_code, query_id=query_id, drop_reason=reason,
                      robot=traits.get("robot", ""), **bare)
            )  # fmt: skip

    def _sender(self, site: str, now: int) -> None:
        """Somebody else's front end: searches and clicks that know nothing of each other."""
        chance = self.chance
        query = chance.choice(self.queries[:60])
        url = f"https://www.example.org/sent/{chance.randrange(30)}"
        source = chance.choice(["searchgov", "addsearch", "searchstax", "vtexads"])
        said = {"site": site, "source": source, "trust": "keyed", "device": "other"}
        key = self._hex()
        if source == "vtexads":
            for pause in (0, 30_000, MINUTE):
                ad = (Shown(url, 0, ""),)
                self._add(Impression(now + pause, kind="ad_impression", shown=ad, visitor=key,
                                     ad_id="ad-7", dedupe_key=key, **said))  # fmt: skip
            for pause in (0, 59 * MINUTE, HOUR):
                self._add(Click(now + pause, url=url, kind="ad", ad_id="ad-7", visitor=key,
                                dedupe_key=key, **said))  # fmt: skip
            return
        if source == "searchgov":
            self._add(Click(now, url=url, position=chance.randrange(1, 30), module_code="I14Y",
                            query=query, **said))  # fmt: skip
            return
        self.searches += 1
        self._add(Search(now, query_id=self._id(now), query=query, total_hits=chance.choice([0, 12]),
                         visitor=key, language="fr", **said))  # fmt: skip
        for pause in chance.choice([[], [5_000], [5_000, 10 * MINUTE]]):
            self._add(Click(now + pause, url=url, position=2, query=query, visitor=key,
                            dedupe_key=key, **said))  # fmt: skip


# -- the second computation ------------------------------------------------------------------------


@dataclass
class Fact:
    """One counted thing with everything a filter may ask for."""

    site: str
    day: date
    query: str | None
    device: str
    language: str
    profile: str
    source: str
    trust: str
    robot: bool
    module: str = ""
    url: str = ""
    position: int | None = None
    hits: int | None = None
    clicked: bool = False
    best: int | None = None
    score: int | None = None
    visitor: str = ""
    received_ms: int = 0


class Truth:
    """What counts in a history, and every table of the report, worked out from the rules."""

    def __init__(self, events: Iterable[Stored]) -> None:
        ordered = sorted(
            set(events), key=lambda stored: (stored.event.received_ms, stored.event_id)
        )
        self.excluded: Counter[tuple[str, date, str, str]] = Counter()
        self.searches: list[Fact] = []
        self.shown: list[Fact] = []
        self.clicks: list[Fact] = []
        self.ratings: list[Fact] = []
        self.pages = {s.event.query_id: s.event for s in ordered if isinstance(s.event, Search)}
        self.told = defaultdict(list)
        for page in self.pages.values():
            if page.source not in ("page", "beacon"):
                self.told[page.source, page.site, page.visitor, page.query].append(page)
        self._clicks([s.event for s in ordered if isinstance(s.event, Click)])
        self._searches(list(self.pages.values()))
        self._ads([s.event for s in ordered if isinstance(s.event, Impression)])
        self._ratings([s.event for s in ordered if isinstance(s.event, Feedback)])
        self._answers: dict[Any, Expected] = {}

    def asked(self, first_day: date, last_day: date, **facets: str) -> Expected:
        """Return the report's tables for one question, worked out once."""
        key = (first_day, last_day, *sorted(facets.items()))
        if key not in self._answers:
            self._answers[key] = Expected(self, first_day, last_day, **facets)
        return self._answers[key]

    @staticmethod
    def _fact(event: Any, query: str | None, **more: Any) -> Fact:
        zone = ZoneInfo(ZONES[event.site])
        day = datetime.fromtimestamp(event.received_ms / 1000, UTC).astimezone(zone).date()
        return Fact(
            event.site, day, query, event.device, event.language, event.profile, event.source,
            event.trust, bool(event.robot), visitor=event.visitor, received_ms=event.received_ms, **more
        )  # fmt: skip

    def _leave_out(self, event: Any, kind: str, reason: str) -> None:
        self.excluded[event.site, self._fact(event, None).day, kind, reason] += 1

    def _clicks(self, clicks: list[Click]) -> None:
        """A click counts when no counted one of its key lies less than the window before it."""
        counted: dict[Any, int] = {}
        self.clicked: defaultdict[str, list[int | None]] = defaultdict(list)
        for click in clicks:
            page = self.pages.get(click.query_id) or self._told_page(click)
            key = click.dedupe_key or (
                click.query_id and (click.query_id, click.visitor, click.url)
            )
            window = HOUR if click.kind == "ad" else 30 * MINUTE
            reason = click.drop_reason
            if not reason and key:
                last = counted.get((click.kind, key))
                if last is not None and click.received_ms - last < window:
                    reason = "duplicate"
                else:
                    counted[click.kind, key] = click.received_ms
            if reason:
                self._leave_out(click, "click", reason)
            if reason not in ("", "robot"):
                continue
            if page and click.query_id:
                click = click._replace(language=page.language, profile=page.profile)
            query = page.query if page else click.query or None
            place = click.position or None
            fact = self._fact(click, query, module=click.module_code, url=click.url, position=place)
            self.clicks.append(fact)
            if (page and 0 <= click.received_ms - page.received_ms < DAY) or (
                page and not click.query_id
            ):
                self.clicked[page.query_id].append(place)

    def _told_page(self, click: Click) -> Search | None:
        """A sender's click belongs to the last search of its words in the 24 hours before it."""
        if click.source == "redirect" or not click.visitor:
            return None
        found = self.told[click.source, click.site, click.visitor, click.query]
        before = [p for p in found if 0 <= click.received_ms - p.received_ms <= DAY]
        return before[-1] if before else None

    def _searches(self, searches: list[Search]) -> None:
        walks: defaultdict[tuple[str, str], list[Search]] = defaultdict(list)
        reasons = {search.query_id: search.drop_reason for search in searches}
        for search in searches:
            if search.visitor and not search.drop_reason:
                walks[search.site, search.visitor].append(search)
        owner: dict[str, str] = {}
        for walk in walks.values():
            self._walk(walk, reasons, owner)
        clicks: defaultdict[str, list[int | None]] = defaultdict(list)
        for query_id, places in self.clicked.items():
            clicks[owner.get(query_id, query_id)] += places
        for search in searches:
            reason = reasons[search.query_id]
            if reason:
                self._leave_out(search, "search", reason)
            if reason in ("", "robot"):
                # Only a counted click makes a search clicked, and no click of a robot is counted.
                places = [] if reason else clicks[search.query_id]
                best = min((place for place in places if place), default=None)
                self.searches.append(
                    self._fact(search, search.query, hits=search.total_hits, clicked=bool(places), best=best)
                )  # fmt: skip
            if reason in ("", "robot", "page", "repeat", "typing"):
                self.shown += [
                    self._fact(search, search.query, module=each.module_code, url=each.url,
                               position=each.position or None)
                    for each in search.impressions
                ]  # fmt: skip

    @staticmethod
    def _walk(walk: list[Search], reasons: dict[str, str], owner: dict[str, str]) -> None:
        last: dict[str, Search] = {}
        typed: list[tuple[str, str]] = []
        for index, search in enumerate(walk):
            after = walk[index + 1] if index + 1 < len(walk) else None
            first = last.get(search.query)
            if (
                after
                and search.query
                and search.offset == 0
                and after.query != search.query
                and after.query.startswith(search.query)
                and after.received_ms - search.received_ms <= 30_000
            ):
                reasons[search.query_id] = "typing"
                typed.append((search.query_id, after.query_id))
            elif first and search.received_ms - first.received_ms < 30 * MINUTE:
                later = search.offset > 0 and first.offset == 0
                reasons[search.query_id] = "page" if later else "repeat"
                owner[search.query_id] = first.query_id
            else:
                last[search.query] = search
        for query_id, after_id in reversed(typed):
            owner[query_id] = owner.get(after_id, after_id)

    def _ads(self, impressions: list[Impression]) -> None:
        last: dict[str, int] = {}
        for event in impressions:
            before = last.get(event.dedupe_key)
            if before is not None and event.received_ms - before < MINUTE:
                self._leave_out(event, "impression", "duplicate")
                continue
            last[event.dedupe_key] = event.received_ms
            self.shown += [self._fact(event, None, url=each.url) for each in event.shown]

    def _ratings(self, ratings: list[Feedback]) -> None:
        for event in ratings:
            if event.drop_reason:
                self._leave_out(event, "rating", event.drop_reason)
            if event.drop_reason in ("", "robot"):
                page = self.pages.get(event.query_id)
                query = page.query if page else None
                self.ratings.append(self._fact(event, query, score=event.score))


# -- what the report should say ---------------------------------------------------------------------


class Expected:
    """The report's tables for one question, from what counts."""

    def __init__(self, truth: Truth, first_day: date, last_day: date, **facets: str) -> None:
        self.first_day, self.last_day, self.facets = first_day, last_day, facets
        self.excluded = truth.excluded
        self.truth = truth
        self.searches = self._asked(truth.searches)
        self.shown = self._asked(truth.shown, module=True)
        self.clicks = self._asked(truth.clicks, module=True)
        self.ratings = self._asked(truth.ratings)

    def _asked(self, facts: Iterable[Fact], module: bool = False) -> list[Fact]:
        without = ("robots", "q") if module else ("robots", "q", "module")
        wanted = [(name, value) for name, value in self.facets.items() if name not in without]
        robots, text = "robots" in self.facets, self.facets.get("q", "")
        found = [
            fact
            for fact in facts
            if self.first_day <= fact.day <= self.last_day and fact.robot == robots
        ]
        for name, value in wanted:
            found = [fact for fact in found if getattr(fact, name) == value]
        return [fact for fact in found if text in (fact.query or "")]

    @property
    def by_site(self) -> Expected:
        """The same under no other filter than the site."""
        facets = {name: value for name, value in self.facets.items() if name == "site"}
        return self.truth.asked(self.first_day, self.last_day, **facets)

    @property
    def anything(self) -> Expected:
        """The same of all queries."""
        facets = {name: value for name, value in self.facets.items() if name != "q"}
        return self.truth.asked(self.first_day, self.last_day, **facets)

    def kept(self, impressions: int, *facets: str) -> int | None:
        """Return *impressions*, or none where they are not kept: under other facets than these."""
        return None if set(self.facets) - {"site", *facets} else impressions

    def sum_kept(self, impressions: int) -> int | None:
        """Return a sum of *impressions*: of every facet it is kept, of a text it is not."""
        return None if "q" in self.facets else impressions

    def metrics(self) -> dict[str, float | None]:
        searches, clicks = self.searches, self.clicks
        clicked = [search for search in searches if search.clicked]
        known = [search for search in searches if search.hits is not None]
        empty = [search for search in known if search.hits == 0]
        found = [search for search in known if search.hits]
        placed = [click.position for click in clicks if click.position]
        scores = [rating.score for rating in self.ratings if rating.score is not None]
        return {
            "searches": len(searches),
            "search_ctr": over(len(clicked), len(searches)),
            "clicks": len(clicks),
            "clicks_per_search": over(len(clicks), len(searches)),
            "impressions": self.sum_kept(len(self.shown)),
            "item_ctr": over(len(clicks), self.sum_kept(len(self.shown)) or 0),
            "no_result_rate": over(len(empty), len(known)),
            "no_click_rate": over(len(searches) - len(clicked), len(searches)),
            "answered_no_click_rate": over(sum(not s.clicked for s in found), len(found)),
            "average_position": over(sum(placed), len(placed)),
            "mrr_clicks": over(sum(1 / place for place in placed), len(placed)),
            "mrr_searches": over(sum(1 / s.best for s in clicked if s.best), len(searches)),
            "satisfaction": over(sum(scores), len(scores)),
        }

    def days(self) -> list[dict[str, Any]]:
        length = (self.last_day - self.first_day).days + 1
        return [self._day(self.first_day + timedelta(days=number)) for number in range(length)]

    @property
    def begun(self) -> date:
        """The first day of which anything of people or robots is known; before it, nothing is."""
        known = (*self.truth.searches, *self.truth.clicks, *self.truth.shown, *self.truth.ratings)
        site = self.facets.get("site")
        return min(fact.day for fact in known if site in (None, fact.site))

    def _day(self, day: date) -> dict[str, Any]:
        if day < self.begun:
            return {"day": day.isoformat(), **dict.fromkeys(DAY_NUMBERS)}
        searches = [fact for fact in self.searches if fact.day == day]
        return {
            "day": day.isoformat(),
            "searches": len(searches),
            "searches_clicked": sum(fact.clicked for fact in searches),
            "searches_empty": sum(fact.hits == 0 for fact in searches),
            "clicks": sum(fact.day == day for fact in self.clicks),
            "impressions": self.sum_kept(sum(fact.day == day for fact in self.shown)),
        }

    @cached_property
    def queries(self) -> dict[str, dict[str, Any]]:
        """Every query that was searched, clicked or shown, by its text."""
        found = {fact.query for fact in (*self.searches, *self.clicks, *self.shown)} - {None}
        by_query: dict[str, list[list[Fact]]] = {str(query): [[], [], []] for query in found}
        for index, facts in enumerate((self.searches, self.clicks, self.shown)):
            for fact in facts:
                if fact.query is not None:
                    by_query[fact.query][index].append(fact)
        return {query: self._query(*facts) for query, facts in by_query.items()}

    def _query(self, searches: list[Fact], clicks: list[Fact], shown: list[Fact]) -> dict[str, Any]:
        placed = [click.position for click in clicks if click.position]
        return {
            "searches": len(searches),
            "searches_clicked": sum(search.clicked for search in searches),
            "searches_known": sum(search.hits is not None for search in searches),
            "searches_empty": sum(search.hits == 0 for search in searches),
            "clicks": len(clicks),
            "impressions": self.kept(len(shown), "q"),
            "position_mean": over(sum(placed), len(placed)),
        }

    def results(self) -> dict[str, dict[str, Any]]:
        """Every clicked result, by its URL."""
        clicks: defaultdict[str, list[Fact]] = defaultdict(list)
        for click in self.clicks:
            clicks[click.url].append(click)
        shown = Counter(fact.url for fact in self.shown)
        return {
            url: {
                "clicks": len(facts),
                "impressions": self.kept(shown[url]),
                "position_mean": mean_position(facts),
            }
            for url, facts in clicks.items()
        }

    def positions(self) -> dict[tuple[str, int], dict[str, int | None]]:
        """Impressions and clicks by module and first position of the step."""
        shown, clicked = (
            Counter((fact.module, step_of(fact.position)) for fact in facts if fact.position)
            for facts in (self.shown, self.clicks)
        )
        return {
            key: {"impressions": self.sum_kept(shown[key]), "clicks": clicked[key]}
            for key in (clicked if "q" in self.facets else shown | clicked)
        }

    def modules(self) -> dict[str, dict[str, Any]]:
        """Every module that was clicked or, where that is kept, shown; also what has none."""
        shown = [] if "q" in self.facets else self.shown
        return {name: self._module(name) for name in {fact.module for fact in self.clicks + shown}}

    def _module(self, name: str) -> dict[str, Any]:
        clicks = [fact for fact in self.clicks if fact.module == name]
        return {
            "clicks": len(clicks),
            "impressions": self.sum_kept(sum(fact.module == name for fact in self.shown)),
            "position_mean": mean_position(clicks),
        }

    def values(self, facet: str) -> dict[str, dict[str, Any]]:
        """The rows of one facet by its values."""
        shown = [] if "q" in self.facets else self.shown
        values = {getattr(fact, facet) for fact in (*self.searches, *self.clicks, *shown)}
        return {value: self._value(facet, value) for value in values}

    def _value(self, facet: str, value: str) -> dict[str, Any]:
        searches, clicks, shown = (
            [fact for fact in facts if getattr(fact, facet) == value]
            for facts in (self.searches, self.clicks, self.shown)
        )
        row = self._query(searches, clicks, shown)
        return {**row, "impressions": self.sum_kept(len(shown))}

    def days_of(self, query: str) -> dict[str, dict[str, Any]]:
        """The rows of one query by day."""
        facts = [
            [fact for fact in facts if fact.query == query]
            for facts in (self.searches, self.clicks, self.shown)
        ]
        length = (self.last_day - self.first_day).days + 1
        days = [self.first_day + timedelta(days=number) for number in range(length)]
        found = {
            day.isoformat(): self._query(
                *([fact for fact in each if fact.day == day] for each in facts)
            )
            for day in days
        }
        return {
            day: row if day >= self.begun.isoformat() else dict.fromkeys(row)
            for day, row in found.items()
        }

    def places_of(self, query: str) -> dict[tuple[str, str, int | None], dict[str, int]]:
        """Impressions and clicks of one query by URL, module and position."""
        shown, clicked = (
            Counter((f.url, f.module, f.position) for f in facts if f.query == query)
            for facts in (self.shown, self.clicks)
        )
        return {key: {"impressions": shown[key], "clicks": clicked[key]} for key in shown | clicked}

    def positioned(self) -> Counter[str]:
        """How many clicks of each query have a position."""
        return Counter(str(fact.query) for fact in self.clicks if fact.position)

    def session_days(self) -> date:
        """The first of the days that sessions are read from."""
        facets = {name: text for name, text in self.facets.items() if name in ("site", "robots")}
        whole = self.truth.asked(self.first_day, self.last_day, **facets)
        days, left = Counter(fact.day for fact in whole.searches), 10_000
        first = self.last_day
        for day in sorted(days, reverse=True):
            left -= days[day]
            if left < 0:
                return first
            first = day
        return self.first_day

    def session_lengths(self) -> list[int]:
        """How many sessions have 1, 2, 3, 4 and more searches: 30 minutes without one end it.

        A session that has the text once is shown whole. Read are the latest days that have 10,000
        searches at most, of the whole site.
        """
        walks: defaultdict[tuple[str, str], list[Fact]] = defaultdict(list)
        first_day = self.session_days()
        for fact in self.anything.searches:
            if fact.visitor and fact.day >= first_day:
                walks[fact.site, fact.visitor].append(fact)
        lengths: list[int] = []
        for walk in walks.values():
            walk.sort(key=lambda fact: fact.received_ms)
            times = [fact.received_ms for fact in walk]
            breaks = [b - a > 30 * MINUTE for a, b in pairwise(times)]
            edges = [0, *(n for n, ends in enumerate(breaks, 1) if ends), len(times)]
            text = self.facets.get("q", "")
            sessions = [walk[a:b] for a, b in pairwise(edges)]
            lengths += [len(each) for each in sessions if any(text in str(f.query) for f in each)]
        return [sum(min(length, 5) == each for length in lengths) for each in range(1, 6)]

    def not_counted(self) -> dict[tuple[str, str], int]:
        found: Counter[tuple[str, str]] = Counter()
        for (site, day, kind, reason), count in self.excluded.items():
            if self.first_day <= day <= self.last_day and self.facets.get("site", site) == site:
                found[kind, reason] += count
        return dict(found)


def over(numerator: float, denominator: int) -> float | None:
    return numerator / denominator if denominator else None


def mean_position(clicks: list[Fact]) -> float | None:
    placed = [click.position for click in clicks if click.position]
    return over(sum(placed), len(placed))


def step_of(position: int) -> int:
    return next(first for first, last in LADDER if first <= position <= last)


# -- the report --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def history() -> History:
    return History(SEED, SEARCHES)


@pytest.fixture(scope="module")
def truth(history: History) -> Truth:
    return Truth(history.events)


@pytest.fixture(scope="module")
def clicks(
    history: History,
    tmp_path_factory: pytest.TempPathFactory,
    new_store: Callable[..., Any],
    url_of: Callable[[Any], str],
    feed_of: Callable[..., Any],
) -> Iterator[ClickMW]:
    """An install whose store took the history in through four writers, a part of it days late."""
    with closing(new_store(site_zones=ZONES)) as store:
        deliver(history, store, feed_of)
        assert store.check() == []
        sites = [
            {"handle": handle, "hosts": [f"{handle}.example"], "time_zone": zone}
            for handle, zone in ZONES.items()
        ]
        made = ClickMW(
            lambda environ, start_response: [],
            secret="s" * 40,
            store=url_of(store),
            journal=str(tmp_path_factory.mktemp("journal")),
            sites=sites,
            keys=[{"key": KEY, "scope": "admin"}],
            report_auth=lambda environ: True,
        )
        yield made
        made.door.worker.close()


def deliver(history: History, store: Any, feed_of: Callable[..., Any]) -> None:
    chance = random.Random(SEED)
    late = lambda stored: stored.event.received_ms + chance.choice([0] * 19 + [3 * DAY])  # noqa: E731
    events = sorted(history.events, key=late)
    feeds = [feed_of(store, f"175000000000{number}-00000000aa") for number in range(4)]
    for start in range(0, len(events), 1000):
        chance.choice(feeds)(*events[start : start + 1000])


@pytest.fixture(scope="module")
def browser(clicks: ClickMW) -> TestApp:
    return TestApp(clicks, extra_environ={"REMOTE_ADDR": "203.0.113.5"})


QUESTIONS: dict[str, dict[str, str]] = {
    "everything": {},
    "one site": {"site": "nps.gov"},
    "the other site": {"site": "shop"},
    "a module": {"module": "BOOS"},
    "a device": {"device": "mobile"},
    "a language": {"language": "es"},
    "a profile": {"profile": "docs"},
    "a source": {"source": "addsearch"},
    "a trust": {"trust": "keyed"},
    "robots": {"robots": "1"},
    "a text": {"q": "tax"},
    "many filters": {"site": "nps.gov", "device": "desktop", "language": "en", "q": "form"},
    "nothing": {"device": "mobile", "source": "searchgov"},
}
SPANS = {
    "all days": (FIRST_DAY, LAST_DAY),
    "the week the clocks are set back": (date(2026, 10, 29), date(2026, 11, 4)),
    "one day": (date(2026, 11, 1), date(2026, 11, 1)),
}


PAIRS = [(question, "all days") for question in QUESTIONS]
PAIRS += [(question, span) for question in ("everything", "many filters") for span in SPANS]


@pytest.fixture(scope="module", params=sorted(set(PAIRS)), ids=" in ".join)
def asked(request: pytest.FixtureRequest, truth: Truth, browser: TestApp) -> Asked:
    question, span = request.param
    return Asked(browser, truth.asked(*SPANS[span], **QUESTIONS[question]))


class Asked:
    """One question to the report, with the answers that are right."""

    def __init__(self, browser: TestApp, expected: Expected) -> None:
        self.browser = browser
        self.expected = expected
        self.query = {
            "from": expected.first_day.isoformat(),
            "to": expected.last_day.isoformat(),
            **expected.facets,
        }

    def get(self, panel: str, form: str = ".json", **more: str) -> Any:
        query = urlencode({**self.query, "limit": "1000", **more})
        return self.browser.get(f"/_clicks/report/{panel}{form}?{query}")

    def rows(self, panel: str, **more: str) -> list[dict[str, Any]]:
        return list(self.get(panel, **more).json["rows"])


def same(found: Any, right: Any) -> bool:
    """Tell whether two numbers are equal, as far as a mean of whole billionths can be."""
    if found is None or right is None:
        return found is right
    return bool(found == pytest.approx(right, abs=1e-8))


def differences(found: Mapping[Any, Any], right: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return what is not the same in two tables, by key and column."""
    wrong = {}
    for key in {*found, *right}:
        here, there = found.get(key), right.get(key)
        if here is None or there is None:
            wrong[key] = (here, there)
            continue
        for name in there:
            if not same(here[name], there[name]):
                wrong[key, name] = (here[name], there[name])
    return wrong


def test_every_figure_of_the_overview(asked: Asked) -> None:
    found = asked.get("overview").json["metrics"]
    right = asked.expected.metrics()
    assert set(right) <= set(found)
    wrong = {
        name: (found[name]["value"], value)
        for name, value in right.items()
        if not same(found[name]["value"], value)
    }
    assert wrong == {}


def test_every_day(asked: Asked) -> None:
    found = {row["day"]: row for row in asked.rows("days")}
    right = {row.pop("day"): row for row in asked.expected.days()}
    assert differences(found, right) == {}


def test_every_query(asked: Asked) -> None:
    right = {
        query: row
        for query, row in asked.expected.queries.items()
        if row["searches"] or row["clicks"]
    }
    found = {row["query"]: row for row in asked.rows("queries")}
    searched = {query: row for query, row in right.items() if row["searches"]}
    assert differences({q: row for q, row in found.items() if row["searches"]}, searched) == {}


def test_queries_without_clicks_and_without_results(asked: Asked) -> None:
    queries = asked.expected.queries
    unclicked = {
        query: row
        for query, row in queries.items()
        if not row["clicks"] and row["searches"] > row["searches_empty"]
    }
    empty = {query: row for query, row in queries.items() if row["searches_empty"]}
    assert differences({row["query"]: row for row in asked.rows("unclicked")}, unclicked) == {}
    assert differences({row["query"]: row for row in asked.rows("empty")}, empty) == {}


def test_every_clicked_result(asked: Asked) -> None:
    found = {row["url"]: row for row in asked.rows("results")}
    assert differences(found, asked.expected.results()) == {}


def test_every_position(asked: Asked) -> None:
    found = {(row["module_code"], row["first"]): row for row in asked.rows("positions")}
    assert differences(found, asked.expected.positions()) == {}


def test_every_module(asked: Asked) -> None:
    found = {row["module_code"]: row for row in asked.rows("modules")}
    assert differences(found, asked.expected.modules()) == {}


def test_everything_that_is_not_counted(asked: Asked) -> None:
    found = {(row["kind"], row["reason"]): row["events"] for row in asked.rows("excluded")}
    assert found == asked.expected.not_counted()


def test_rows_add_up_to_the_totals(asked: Asked) -> None:
    right = asked.expected
    days = asked.rows("days")
    for name, facts in (("searches", right.searches), ("clicks", right.clicks)):
        assert sum(row[name] or 0 for row in days) == len(facts)
    assert sum(row["searches"] for row in asked.rows("queries")) == len(right.searches)
    assert sum(row["clicks"] for row in asked.rows("results")) == len(right.clicks)


FACET_PANELS = {
    "devices": "device",
    "languages": "language",
    "profiles": "profile",
    "sources": "source",
    "trusts": "trust",
}


@pytest.mark.parametrize("panel", FACET_PANELS)
def test_every_value_of_a_facet(asked: Asked, panel: str) -> None:
    facet = FACET_PANELS[panel]
    found = {row[facet]: row for row in asked.rows(panel)}
    assert differences(found, asked.expected.values(facet)) == {}


def test_every_query_of_few_clicks_by_the_rule_of_searchgov(asked: Asked) -> None:
    right = {
        query: {**row, "clicks_for_100": 100 * row["clicks"] / row["searches"]}
        for query, row in asked.expected.queries.items()
        if row["searches"] + row["clicks"] >= 20 and 100 * row["clicks"] < 20 * row["searches"]
    }
    assert differences({row["query"]: row for row in asked.rows("low-ctr")}, right) == {}


def test_every_query_that_is_clicked_far_down(asked: Asked) -> None:
    positioned = asked.expected.positioned()
    right = {
        query: row
        for query, row in asked.expected.queries.items()
        if positioned[query] >= 3 and row["position_mean"] >= 2
    }
    found = asked.rows("deep-clicks", deeper_than="2", least_clicks="3")
    assert differences({row["query"]: row for row in found}, right) == {}


def test_every_query_that_misses_clicks(asked: Asked) -> None:
    queries = asked.expected.queries
    searches, clicked = (sum(row[name] for row in queries.values()) for name in FOUND)
    searches -= sum(row["searches_empty"] for row in queries.values())
    right = {}
    for query, row in queries.items():
        found = row["searches"] - row["searches_empty"]
        missed = found * over(clicked, searches) - row["searches_clicked"] if searches else 0
        if found >= 20 and wilson_high(row["searches_clicked"], found) < clicked / searches:
            right[query] = {**row, "missed": missed, "searches_found": found}
    rows = asked.rows("missed-clicks")
    assert differences({row["query"]: row for row in rows}, right) == {}
    assert rows == sorted(rows, key=lambda row: -row["missed"])


FOUND = ("searches", "searches_clicked")


def wilson_high(part: int, whole: int) -> float:
    """The upper end of Wilson's 95 % score interval of part / whole."""
    z = 1.959963984540054
    p, square = part / whole, z * z / whole
    return float(
        (p + square / 2 + z * sqrt(p * (1 - p) / whole + square / whole / 4)) / (1 + square)
    )


def test_every_result_that_is_shown_and_never_clicked(asked: Asked) -> None:
    expected = asked.expected.by_site
    clicked = {fact.url for fact in expected.clicks}
    shown = Counter(fact.url for fact in expected.shown)
    right = {
        url: {"impressions": count}
        for url, count in shown.items()
        if count >= 5 and url not in clicked
    }
    found = asked.rows("never-clicked", least_impressions="5")
    assert differences({row["url"]: row for row in found}, right) == {}


def test_every_step_of_the_histogram(asked: Asked) -> None:
    found = {(row["module_code"], row["first"]): row["clicks"] for row in asked.rows("histogram")}
    right = Counter(
        (fact.module, bar_of(fact.position)) for fact in asked.expected.clicks if fact.position
    )
    assert {key: clicks for key, clicks in found.items() if clicks} == right


def bar_of(position: int) -> int:
    return position if position <= 10 else 11 if position <= 20 else 21


def test_every_length_of_a_session(asked: Asked) -> None:
    found = [row["sessions"] for row in asked.rows("session-lengths")]
    assert found == asked.expected.session_lengths()


# -- one query, one result -------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["everything", "one site", "many filters"])
def subject(request: pytest.FixtureRequest, truth: Truth, browser: TestApp) -> Asked:
    """A question about one query or one result, the busiest under these filters."""
    return Asked(browser, truth.asked(FIRST_DAY, LAST_DAY, **QUESTIONS[request.param]))


def test_every_day_of_a_query(subject: Asked) -> None:
    queries = subject.expected.queries
    for query in sorted(queries, key=lambda query: -queries[query]["searches"])[:3]:
        found = {row["day"]: row for row in subject.rows("query-days", query=query)}
        assert sum(row["searches"] or 0 for row in found.values()) == queries[query]["searches"]
        assert differences(found, subject.expected.days_of(query)) == {}


def test_every_place_of_a_query(subject: Asked) -> None:
    queries = subject.expected.queries
    few = [query for query, row in queries.items() if 30 <= row["searches"] <= 60]
    for query in sorted(few)[:3]:
        found = {
            (row["url"], row["module_code"], row["position"]): row
            for row in subject.rows("query-places", query=query)
        }
        assert differences(found, subject.expected.places_of(query)) == {}


def test_every_query_day_and_place_of_a_result(subject: Asked) -> None:
    results = subject.expected.results()
    for url in sorted(results, key=lambda url: -results[url]["clicks"])[:3]:
        clicks = [fact for fact in subject.expected.clicks if fact.url == url]
        queries = {row["query"]: row["clicks"] for row in subject.rows("result-queries", url=url)}
        assert queries == Counter(fact.query for fact in clicks)
        days = {row["day"]: row["clicks"] for row in subject.rows("result-days", url=url)}
        assert Counter(fact.day.isoformat() for fact in clicks) == {
            day: count for day, count in days.items() if count
        }
        places = {
            (row["module_code"], row["position"]): row["clicks"]
            for row in subject.rows("result-places", url=url)
        }
        assert places == Counter((fact.module, fact.position) for fact in clicks)


# -- one number, five ways ---------------------------------------------------------------------------


PLAIN = [name for name, panel in PANELS.items() if not panel.needs]


@pytest.fixture(scope="module", params=["everything", "one site", "a text", "many filters"])
def one(request: pytest.FixtureRequest, truth: Truth, browser: TestApp) -> Asked:
    return Asked(browser, truth.asked(FIRST_DAY, LAST_DAY, **QUESTIONS[request.param]))


@pytest.mark.parametrize("name", PLAIN)
def test_the_file_has_what_the_page_has(one: Asked, name: str) -> None:
    rows = one.rows(name)
    records = list(csv.DictReader(io.StringIO(one.get(name, ".csv").text)))
    assert len(records) == len(rows)
    for row, written in zip(rows, records, strict=True):
        for column in PANELS[name].columns:
            value = row[column.key]
            if isinstance(value, dict):
                value = value["value"]
            if column.numeric:
                assert written[column.key] == ("" if value is None else str(value))


@pytest.mark.parametrize("name", PLAIN)
def test_the_page_shows_what_its_rows_say(one: Asked, name: str) -> None:
    rows = one.rows(name, limit="100")
    page = BeautifulSoup(one.get(name, "", limit="100").text, "html.parser")
    shown = page.select("table.rows tbody tr")
    assert len(shown) == len(rows)
    columns = PANELS[name].columns_shown(brief=False)
    for row, line in zip(rows, shown, strict=True):
        cells = [" ".join(cell.get_text(" ").split()) for cell in line.select("th, td")]
        for column, cell in zip(columns, cells, strict=True):
            if column.kind == "count":
                value = row[column.key]
                assert cell == ("–" if value is None else f"{value:,}")


def test_the_terminal_says_the_same(one: Asked, clicks: ClickMW) -> None:
    facets = {name: value for name, value in one.expected.facets.items() if name != "q"}
    filter = Filter(
        first_day=FIRST_DAY, last_day=LAST_DAY, text=one.expected.facets.get("q"), **facets
    )
    with closing(clicks.door.store.reader()) as reader:
        facts = report_facts(reader, filter, 1000)
    right = one.expected.metrics()
    assert facts["totals"]["searches"] == right["searches"]
    assert facts["totals"]["clicks"] == right["clicks"]
    for name, value in right.items():
        assert same(facts["metrics"][name]["value"], value), name
    found = {row["query"]: row for row in facts["queries"] if row["searches"]}
    queries = {q: row for q, row in one.expected.queries.items() if row["searches"]}
    assert differences(found, queries) == {}


def test_an_agent_is_told_the_same(truth: Truth, browser: TestApp) -> None:
    right = truth.asked(FIRST_DAY, LAST_DAY, site="nps.gov")
    asked = {"site": "nps.gov", "from": "2026-10-20", "to": "2026-11-12", "limit": 100}
    told = call_tool(browser, "top_queries", asked)
    assert told["totals"]["searches"] == len(right.searches)
    assert told["totals"]["clicks"] == len(right.clicks)
    queries = right.queries
    assert told["rows"]
    for row in told["rows"]:
        assert differences({row["query"]: row}, {row["query"]: queries[row["query"]]}) == {}


def call_tool(browser: TestApp, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    message = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": name, "arguments": arguments},
    }
    headers = {"MCP-Protocol-Version": "2025-06-18", "Accept": "application/json", "X-Api-Key": KEY}
    answer = browser.post_json("/_clicks/mcp", message, headers=headers)
    return dict(answer.json["result"]["structuredContent"])
