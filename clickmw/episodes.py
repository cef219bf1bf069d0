"""Times in which a query found nothing."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from itertools import groupby
from typing import NamedTuple

from clickmw.stores.base import QueryDayRow


class Episode(NamedTuple):
    """Days in a row on which a query found nothing; ``over`` when it found something every time since."""

    first_day: date
    last_day: date
    searches_empty: int
    searches_known: int
    over: bool


def empty_episodes(days: Iterable[QueryDayRow]) -> list[Episode]:
    """Return the runs of days on which searches found nothing, in order.

    A day is in a run when one of its searches or more found nothing. A day on which all found
    something ends the run; one without a search of known hits neither ends nor lengthens it.
    """
    known = [row for row in days if row.searches_known]
    runs = [(bad, list(rows)) for bad, rows in groupby(known, key=lambda r: r.searches_empty > 0)]
    return [
        Episode(
            rows[0].day,
            rows[-1].day,
            sum(row.searches_empty for row in rows),
            sum(row.searches_known for row in rows),
            over=number < len(runs) - 1,
        )
        for number, (bad, rows) in enumerate(runs)
        if bad
    ]
