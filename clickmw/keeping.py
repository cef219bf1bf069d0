"""What this install keeps, how long, what it never writes and whom it does not count, with its own values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

from clickmw.discretion import sentence as rare_queries


class Keeping(Protocol):
    """The settings that decide what is kept."""

    @property
    def keep_days(self) -> int: ...
    @property
    def visitor(self) -> str | Callable[[dict[str, Any]], str]: ...
    @property
    def optout(self) -> str: ...
    @property
    def dedupe_window_s(self) -> int: ...
    @property
    def count_trust(self) -> frozenset[str]: ...
    @property
    def min_visitors(self) -> int: ...


class Sentence(NamedTuple):
    """What is true of one ``topic`` here."""

    topic: str
    text: str


def sentences(settings: Keeping) -> list[Sentence]:
    """Return what visitors and owners may want to know."""
    return [
        *_stored(),
        Sentence("For how long", _how_long(settings.keep_days)),
        Sentence("Visitors", _VISITORS.get(str(settings.visitor), _NAMED)),
        Sentence(
            "Ids of the browser",
            "An id by which an event that was sent twice is known belongs to that event alone. It is "
            "compared for 48 hours.",
        ),
        *_never(),
        *_shown(settings.min_visitors),
        Sentence("Who is not counted", _not_counted(settings)),
        Sentence("Asking not to be counted", _OPTOUT[settings.optout]),
    ]


def _stored() -> Iterator[Sentence]:
    yield Sentence(
        "Stored of a search",
        "The time, the query in its normal form with personal numbers and addresses masked, how many "
        "hits it had, which results were shown and which of them were seen.",
    )
    yield Sentence(
        "Stored of a click",
        "The time, the address of the result, its position and module, the search it belongs to, and "
        "the host of a foreign page that led there.",
    )
    yield Sentence(
        "Stored of both",
        "The site, a class of device, the language and profile that the page names, and a hash that "
        "stands for the visitor.",
    )


def _how_long(days: int) -> str:
    return (
        f"Searches and clicks are deleted after {days:,} days. Sums of days stay, without any "
        "visitor: they hold the texts of queries and the addresses of results."
    )


_VISITORS = {
    "daily": (
        "Address and browser become a hash with a random key that is new every day. The key is "
        "destroyed when it is more than two days old: nobody can then tell who it was, or that two "
        "days saw the same person."
    ),
    "none": "Visitors are not told apart: no hash is made of them.",
}
_NAMED = (
    "The site names its visitors itself. The name becomes a hash with a random key that is new every "
    "day and destroyed when it is more than two days old."
)
_OPTOUT = {
    "drop": (
        "A browser that sends Global Privacy Control or Do Not Track, or has the cookie "
        "clickmw_optout=1 (the snippet's optOut() sets it), is left alone: its events are only "
        "tallied, and its pages have the original links."
    ),
    "anonymous": (
        "Events of a browser that sends Global Privacy Control or Do Not Track, or has the cookie "
        "clickmw_optout=1 (the snippet's optOut() sets it), are kept without a visitor."
    ),
    "ignore": "This install treats everybody alike, whatever the browser asks for.",
}


def _never() -> Iterator[Sentence]:
    yield Sentence(
        "Never stored",
        "Internet addresses, user agents, cookies, and the path of the page a visitor came from. "
        "Nothing is sent to anybody else.",
    )
    yield Sentence(
        "In visitors' browsers",
        "No cookie and no storage, unless they opt out. Whoever opens this report has a cookie for "
        "twelve hours.",
    )


def _shown(least: int) -> Iterator[Sentence]:
    if least:
        yield Sentence(
            "Rare queries",
            f"{rare_queries(least)} A visitor is another one each day, so that the same person counts "
            "on each of several days; searches without a visitor count for nobody. Whoever may read "
            "the database itself reads all queries.",
        )


def _not_counted(settings: Keeping) -> str:
    minutes = f"{settings.dedupe_window_s / 60:g}"
    left_out = ["signed", "session", "keyed", "anonymous"]
    left_out = [trust for trust in left_out if trust not in settings.count_trust]
    more = f" Nor are events whose trust is {' or '.join(left_out)}." if left_out else ""
    return (
        f"Robots, repeated clicks within {minutes} minutes, searches that continue another one, links "
        f"followed from other sites or older than 30 days, pages that were only loaded ahead.{more} "
        "They are kept, and listed by reason as Not counted."
    )
