"""Who may read the numbers by program: the keys of the settings and what each opens."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from typing import Any, NamedTuple

from clickmw.settings import Settings
from clickmw.sites import Key


class Holder(NamedTuple):
    """Whoever showed a key: ``site`` is the handle it is bound to, None for the whole install.

    ``scope`` is read, ingest or admin.
    """

    scope: str
    site: str | None

    @property
    def may_read(self) -> bool:
        """Whether numbers may be shown; an ingest key only writes."""
        return self.scope in ("read", "admin")


class KeyRing:
    """The keys of an install; compared in constant time, never logged."""

    def __init__(self, settings: Settings) -> None:
        self._keys: list[tuple[bytes, Holder]] = [*_entries(settings.keys, None)]
        for site in settings.sites.all:
            self._keys += _entries(site.api_keys, site.handle)

    def find(self, given: str) -> Holder | None:
        """Return who holds the key *given*, None for a wrong one."""
        text = given.encode("utf-8", "replace")
        found = None
        for key, holder in self._keys:  # all of them: the time must not tell which one matched
            if hmac.compare_digest(key, text) and given:
                found = found or holder
        return found


def shown_key(environ: dict[str, Any], query: Iterable[tuple[str, str]] = ()) -> str:
    """Return the key a request shows: ``X-Api-Key``, ``Authorization: Bearer`` or ``?api_key=``; "" for none.

    Source: the hienergy API's three ways. Two different keys in the query string are none.
    """
    if header := environ.get("HTTP_X_API_KEY"):
        return str(header).strip()
    scheme, _, token = str(environ.get("HTTP_AUTHORIZATION") or "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    in_query = {value for name, value in query if name == "api_key"}
    return in_query.pop() if len(in_query) == 1 else ""


def _entries(keys: Iterable[Key], site: str | None) -> list[tuple[bytes, Holder]]:
    return [(key.key.encode(), Holder(key.scope, site)) for key in keys]
