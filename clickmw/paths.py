"""Which path belongs to which endpoint."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

Owner = TypeVar("Owner")


class Endpoint(NamedTuple):
    """One path, written without a slash at either end.

    ``path`` may leave parts open (``v1/stats/{key}``). ``answer`` is the name of its owner's method.
    ``operations``: HTTP method in lower case → its OpenAPI 3.0 Operation Object, for the methods
    that are documented; the method answers all others too. ``any_case``: the path is compared
    without regard to case.
    """

    path: str
    answer: str
    operations: Mapping[str, Mapping[str, Any]]
    any_case: bool = False


class PathTable(Generic[Owner]):
    """Endpoints by path; a slash at the end of a path does not matter."""

    def __init__(self) -> None:
        #: What a path of the table, in lower case, begins with: tells most other paths from them.
        self.beginnings: tuple[str, ...] = ()
        self._exact: dict[str, tuple[Owner, Endpoint]] = {}
        self._any_case: dict[str, tuple[Owner, Endpoint]] = {}
        self._open: list[tuple[re.Pattern[str], Owner, Endpoint]] = []

    def add(self, owner: Owner, endpoints: Iterable[Endpoint]) -> None:
        """Add *endpoints* of *owner*."""
        for endpoint in endpoints:
            self.beginnings += (endpoint.path.partition("{")[0].lower(),)
            if "{" in endpoint.path:
                self._open.append((_pattern(endpoint), owner, endpoint))
            elif endpoint.any_case:
                self._any_case[endpoint.path.lower()] = (owner, endpoint)
            else:
                self._exact[endpoint.path] = (owner, endpoint)

    def __iter__(self) -> Iterator[tuple[Owner, Endpoint]]:
        """Yield every endpoint with its owner."""
        yield from self._exact.values()
        yield from self._any_case.values()
        for _, owner, endpoint in self._open:
            yield owner, endpoint

    def find(self, path: str) -> tuple[Owner, Endpoint, Mapping[str, str]] | None:
        """Return owner, endpoint and the open parts of *path*, None when nobody answers there."""
        lowered = path.lower()
        if not lowered.startswith(self.beginnings):
            return None
        path = path.removesuffix("/")
        found = self._exact.get(path) or self._any_case.get(lowered.removesuffix("/"))
        if found:
            return (*found, {})
        for pattern, owner, endpoint in self._open:
            match = pattern.fullmatch(path)
            if match:
                return owner, endpoint, match.groupdict()
        return None


def _pattern(endpoint: Endpoint) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", endpoint.path)
    text = "".join(
        f"(?P<{part}>[^/]+)" if index % 2 else re.escape(part) for index, part in enumerate(parts)
    )
    return re.compile(text, re.IGNORECASE if endpoint.any_case else 0)
