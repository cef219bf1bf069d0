"""A payload: the members of one object that a browser sent, read strictly and by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from clickmw.errors import BadEvent
from clickmw.events import VIEW_SKEW_MS, is_query_id, issued_ms
from clickmw.module_codes import is_module_code
from clickmw.queries import RAW_LIMIT
from clickmw.scanner import MAX_POSITION
from clickmw.wire import BODY_LIMIT, clean_text

LISTED_LIMIT = 200  #: results of a search, places that were seen
NAME_LIMIT = 64  #: characters of an order's id, a profile or a tag
TEXT_LIMIT = 10_000  #: characters of what is kept in part: titles, comments, questions, answers

_LANGUAGE = re.compile(r"[a-z0-9-]{1,35}")


class Payload:
    """The members of one object that was sent; null is as good as not sent.

    Each method raises :class:`BadEvent` for what is of another type or outside its limits.
    """

    __slots__ = ("_members", "_now_ms")

    def __init__(self, members: Any, now_ms: int) -> None:
        if not isinstance(members, dict):
            raise BadEvent("each event and each result is an object")
        self._members: Mapping[str, Any] = members
        self._now_ms = now_ms

    # -- by type -----------------------------------------------------------------------------------

    def text(self, name: str, most: int = BODY_LIMIT, *, needed: bool = False) -> str:
        """Return a text of at most *most* characters, "" when it was not sent."""
        value = self._members.get(name)
        if value is None and not needed:
            return ""
        if not isinstance(value, str) or len(value) > most:
            raise BadEvent(f"{name} is no text of at most {most} characters")
        return value

    def whole(self, name: str, least: int, most: int) -> int | None:
        """Return a whole number from *least* to *most*, None when it was not sent."""
        value = self._members.get(name)
        if value is None:
            return None
        if type(value) is not int or not least <= value <= most:
            raise BadEvent(f"{name} is no whole number from {least} to {most}")
        return value

    def number(self, name: str, most: int) -> float | None:
        """Return a number from 0 to *most*, None when it was not sent."""
        value = self._members.get(name)
        if value is None:
            return None
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not 0 <= value <= most:
            raise BadEvent(f"{name} is no number from 0 to {most}")
        return float(value)

    def truth(self, name: str) -> int | None:
        """Return 1 for true, 0 for false, None when it was not sent."""
        value = self._members.get(name)
        if value is not None and not isinstance(value, bool):
            raise BadEvent(f"{name} is neither true nor false")
        return None if value is None else int(value)

    def items(self, name: str) -> list[Any]:
        """Return a list, empty when it was not sent."""
        value = self._members.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or len(value) > LISTED_LIMIT:
            raise BadEvent(f"{name} is no list of at most {LISTED_LIMIT}")
        return value

    def an_id(self, name: str, *, needed: bool = False) -> str:
        """Return an id of the form of a query id, "" when it was not sent."""
        value = self.text(name, needed=needed)
        if (value or needed) and not is_query_id(value):
            raise BadEvent(f"{name} is not 16 characters of A-Z a-z 0-9 - _")
        return value

    def name(self, name: str, most: int = NAME_LIMIT) -> str:
        """Return a short text as one line; a longer one than *most* is refused."""
        return clean_text(self.text(name, most), most)

    def words(self, name: str, kept: int = RAW_LIMIT, *, needed: bool = False) -> str:
        """Return what somebody wrote as one line: its first *kept* characters."""
        return clean_text(self.text(name, TEXT_LIMIT, needed=needed), kept)

    # -- by name -----------------------------------------------------------------------------------

    def module(self) -> str:
        """Return the module code ``m``; "" where the list has none."""
        code = self.text("m")
        if code and not is_module_code(code):
            raise BadEvent("m is no module code")
        return code

    def position(self) -> int | None:
        """Return the position ``p``, None when it was not sent."""
        return self.whole("p", 1, MAX_POSITION)

    def language(self) -> str:
        """Return the language ``l`` as ``en-us``, "" for what is none."""
        language = self.text("l").strip().lower().replace("_", "-")
        return language if _LANGUAGE.fullmatch(language) else ""

    def places(self) -> tuple[tuple[str, int], ...]:
        """Return the places ``p``, each once: pairs of module code and position.

        A link whose token has no position says 0: nobody knows its place, and it is left out.
        """
        found = dict.fromkeys(map(self._place, self.items("p")))
        if not found:
            raise BadEvent("p is empty")
        return tuple(place for place in found if place[1])

    def _place(self, pair: Any) -> tuple[str, int]:
        module, position = pair if isinstance(pair, list) and len(pair) == 2 else (None, None)
        place = Payload({"m": module, "p": position}, self._now_ms)
        found = place.whole("p", 0, MAX_POSITION)
        if found is None:
            raise BadEvent("p is no list of pairs of module and position")
        return place.module(), found

    def client_id(self) -> str:
        """Return the browser's own id of the event ``i``, "" for one that cannot be of these days."""
        given = self.text("i")
        return given if is_query_id(given) and self.is_near(given) else ""

    def view(self) -> str:
        """Return the view ``v`` that a link belonged to; one of long ago is none."""
        view = self.an_id("v")
        return view if view and self.is_near(view) else ""

    def search(self) -> str:
        """Return the search ``g`` that something belongs to, "" when the page does not say."""
        query_id = self.an_id("g")
        if query_id and issued_ms(query_id) - self._now_ms > VIEW_SKEW_MS:
            raise BadEvent("g is of days to come")
        return query_id

    def is_near(self, some_id: str) -> bool:
        """Tell whether an id was made within two days of now, by whichever clock."""
        return abs(issued_ms(some_id) - self._now_ms) <= VIEW_SKEW_MS
