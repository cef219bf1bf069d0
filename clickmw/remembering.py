"""A reader that reads each answer once: the parts of one page ask the same questions."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, cast

from clickmw.stores.base import Reader


class _Remembering:
    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._answers: dict[Hashable, Any] = {}

    def __getattr__(self, name: str) -> Callable[..., Any]:
        read = getattr(self._reader, name)

        def answer(*values: Any, **named: Any) -> Any:
            question = (name, values, tuple(sorted(named.items())))
            if question not in self._answers:
                self._answers[question] = read(*values, **named)
            return self._answers[question]

        return answer


def remembering(reader: Reader) -> Reader:
    """Return *reader* with a memory for the time of one page; nobody may change its answers."""
    return cast(Reader, _Remembering(reader))
