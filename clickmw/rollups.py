"""What one event adds to the rollups, as pure functions.

Every number of the report is a sum of these integers, so that a correction subtracts exactly what
was added before and a rebuild gives the same rows to the digit. Reciprocal ranks are kept as whole
billionths (10⁹ // position).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import NamedTuple

from clickmw.stores.base import POSITION_BUCKETS

BILLION = 1_000_000_000

#: Table → (key columns, measures). A missing module, device … is id 0.
DIMENSIONS = (
    "site",
    "day",
    "module",
    "device",
    "language",
    "profile",
    "source",
    "trust",
    "robot",
)
TABLES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "cube": (
        DIMENSIONS,
        (
            "searches",
            "searches_clicked",
            "searches_known",
            "searches_empty",
            "searches_answered_unclicked",
            "search_reciprocal",
            "clicks",
            "clicks_positioned",
            "position_sum",
            "click_reciprocal",
            "impressions",
            "ratings",
            "score_sum",
            "score_square_sum",
        ),
    ),
    "cube_position": ((*DIMENSIONS, "bucket"), ("impressions", "clicks")),
    "quarter": (
        ("site", "quarter"),
        ("searches", "searches_clicked", "searches_empty", "clicks", "impressions"),
    ),
    "day_query": (
        ("site", "day", "query"),
        (
            "searches",
            "searches_clicked",
            "searches_known",
            "searches_empty",
            "clicks",
            "clicks_positioned",
            "position_sum",
            "impressions",
        ),
    ),
    "day_result": (
        ("site", "day", "result"),
        ("clicks", "clicks_positioned", "position_sum", "impressions"),
    ),
    "day_host": (("site", "day", "host", "ad"), ("clicks",)),
    "uncounted": (("site", "day", "kind", "reason"), ("events",)),
}

Key = tuple[int, ...]
_BUCKET_ENDS = [last for _first, last in POSITION_BUCKETS if last is not None]
_LAST_BUCKET = len(POSITION_BUCKETS) - 1
_NO_BUCKET = len(POSITION_BUCKETS)
_BUCKET_OF = [
    _NO_BUCKET,
    *(next(i for i, end in enumerate(_BUCKET_ENDS) if n <= end) for n in range(1, 101)),
]


def bucket_of(position: int) -> int:
    """Return the index in POSITION_BUCKETS of *position* (≥ 1)."""
    return _BUCKET_OF[position] if position <= 100 else _LAST_BUCKET


class Dimensions(NamedTuple):
    """Where an event stands in the cube: ids, 0 for none; ``day`` in days since 1970, site's calendar."""

    site: int
    day: int
    device: int
    language: int
    profile: int
    source: int
    trust: int
    robot: int
    quarter: int

    def cube(self, module: int) -> Key:
        """Return the cube's key for one module (0: the page as a whole)."""
        return (self.site, self.day, module, *self[2:8])


class SearchMeasures(NamedTuple):
    """What the rates read of one counted search."""

    total_hits: int | None
    clicked: bool
    best_position: int | None


class Deltas:
    """Sums of changes by table and key, in the measures' order of TABLES.

    What a page shows is by far the most frequent: it is summed by result and by bucket first, and
    becomes rows in :meth:`rows`.
    """

    def __init__(self) -> None:
        self.tables: dict[str, defaultdict[Key, list[int]]] = {
            table: defaultdict(_zeros(len(measures))) for table, (_key, measures) in TABLES.items()
        }
        self._shown: defaultdict[Key, defaultdict[int, int]] = defaultdict(_no_results)
        # One more than there are buckets: what was shown at an unknown position.
        self._buckets: defaultdict[Key, list[int]] = defaultdict(_zeros(len(POSITION_BUCKETS) + 1))

    def rows(self, table: str) -> list[Key]:
        """Return the changes of *table* as (key …, measures …), sorted; nothing where they cancel out."""
        if table == "cube_position":
            self._settle_buckets()
        shown = self._shown_only() if table == "day_result" else []
        sums = self.tables[table].items()
        return sorted([*((*key, *values) for key, values in sums if any(values)), *shown])

    def _shown_only(self) -> list[Key]:
        """Return the rows of results that were shown and not clicked; the others are settled."""
        table = self.tables["day_result"]
        rows: list[Key] = []
        for (site, day), results in self._shown.items():
            for result, count in results.items():
                clicked = table.get((site, day, result))
                if clicked is not None:
                    clicked[3] += count
                elif count:
                    rows.append((site, day, result, 0, 0, 0, count))
        self._shown.clear()
        return rows

    def _settle_buckets(self) -> None:
        table = self.tables["cube_position"]
        for key, counts in self._buckets.items():
            for bucket, count in enumerate(counts[:_NO_BUCKET]):
                if count:
                    table[*key, bucket][0] += count
        self._buckets.clear()

    def add_search(self, at: Dimensions, query: int, search: SearchMeasures, sign: int = 1) -> None:
        """Add one counted search, or take it back with sign −1."""
        known = search.total_hits is not None
        empty = search.total_hits == 0
        clicked = search.clicked
        reciprocal = BILLION // search.best_position if clicked and search.best_position else 0
        cube = self.tables["cube"][at.cube(0)]
        cube[0] += sign
        cube[1] += sign * clicked
        cube[2] += sign * known
        cube[3] += sign * empty
        cube[4] += sign * (known and not empty and not clicked)
        cube[5] += sign * reciprocal
        if at.robot:
            return
        quarter = self.tables["quarter"][at.site, at.quarter]
        quarter[0] += sign
        quarter[1] += sign * clicked
        quarter[2] += sign * empty
        day_query = self.tables["day_query"][at.site, at.day, query]
        day_query[0] += sign
        day_query[1] += sign * clicked
        day_query[2] += sign * known
        day_query[3] += sign * empty

    def add_impressions(
        self,
        at: Dimensions,
        query: int | None,
        shown: Iterable[tuple[int, int, int]],
        sign: int = 1,
    ) -> None:
        """Add what was shown on one page, each (result, position, module); position 0 is unknown."""
        results = self._shown[at.site, at.day]
        last_module, total = -1, 0
        counts: list[int] = []
        sums: list[int] = []
        for result, position, module in shown:
            if module != last_module:
                key = at.cube(module)
                counts, sums = self._buckets[key], self.tables["cube"][key]
                last_module = module
            sums[10] += sign
            counts[_BUCKET_OF[position] if position <= 100 else _LAST_BUCKET] += sign
            if not at.robot:
                results[result] += sign
            total += sign
        if total and not at.robot:
            self.tables["quarter"][at.site, at.quarter][4] += total
            if query is not None:
                self.tables["day_query"][at.site, at.day, query][7] += total

    def add_click(
        self,
        at: Dimensions,
        module: int,
        query: int | None,
        result: int,
        host: int,
        ad: int,
        position: int | None,
        sign: int = 1,
    ) -> None:
        """Add one counted click, or take it back; *query* is None until its search is known.

        *ad* is the term of the ad's id, 0 for a result that is none.
        """
        placed = 1 if position else 0
        place = position or 0
        key = at.cube(module)
        cube = self.tables["cube"][key]
        cube[6] += sign
        cube[7] += sign * placed
        cube[8] += sign * place
        cube[9] += sign * (BILLION // place if place else 0)
        if place:
            self.tables["cube_position"][*key, bucket_of(place)][1] += sign
        if at.robot:
            return
        self.tables["quarter"][at.site, at.quarter][3] += sign
        self.tables["day_host"][at.site, at.day, host, ad][0] += sign
        _add(
            self.tables["day_result"][at.site, at.day, result],
            0,
            (sign, sign * placed, sign * place),
        )
        if query is not None:
            day_query = self.tables["day_query"][at.site, at.day, query]
            _add(day_query, 4, (sign, sign * placed, sign * place))

    def add_rating(self, at: Dimensions, score: int, sign: int = 1) -> None:
        """Add one counted rating of a search, or take it back."""
        cube = self.tables["cube"][at.cube(0)]
        _add(cube, 11, (sign, sign * score, sign * score * score))

    def add_excluded(self, site: int, day: int, kind: int, reason: int, sign: int = 1) -> None:
        """Count one event that is kept but not counted, by its reason."""
        self.tables["uncounted"][site, day, kind, reason][0] += sign


def _zeros(count: int) -> Callable[[], list[int]]:
    return lambda: [0] * count


def _no_results() -> defaultdict[int, int]:
    return defaultdict(int)


def _add(measures: list[int], start: int, values: tuple[int, ...]) -> None:
    for index, value in enumerate(values, start):
        measures[index] += value
