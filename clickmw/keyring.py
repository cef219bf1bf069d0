"""Who may read the numbers by program: the keys of the settings and of the store, and what each opens."""

from __future__ import annotations

import hmac
import re
import secrets
import time
from collections.abc import Iterable
from contextlib import closing, suppress
from hashlib import sha256
from typing import Any, NamedTuple

from clickmw.errors import ClickMWError
from clickmw.settings import Settings
from clickmw.sites import Key
from clickmw.stores import open_store
from clickmw.stores.base import StoredKey, StoreOptions
from clickmw.tokens import derive_keys

#: How long a process goes on with what it has read: a key that was revoked stops after that.
READ_AGAIN_S = 2.0
_MADE = re.compile(r"cmw_([0-9a-f]{8})_[A-Za-z0-9_-]{43}")


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
        self._url = settings.store
        self._hashing = derive_keys(settings.secret, settings.old_secrets, "keys")
        self._stored: list[StoredKey] = []
        self._read_at = float("-inf")

    def find(self, given: str) -> Holder | None:
        """Return who holds the key *given*, None for a wrong one."""
        text = given.encode("utf-8", "replace")
        found = None
        for key, holder in self._keys:  # all of them: the time must not tell which one matched
            if hmac.compare_digest(key, text) and given:
                found = found or holder
        return found or self._find_stored(given)

    def _find_stored(self, given: str) -> Holder | None:
        made = _MADE.fullmatch(given)
        named = [key for key in self._stored_keys() if key.id == made[1]] if made else []
        for key in named:
            for hashing in self._hashing:
                if hmac.compare_digest(key.digest, _digest(hashing, given)):
                    return Holder(key.scope, key.site)
        return None

    def _stored_keys(self) -> list[StoredKey]:
        if time.monotonic() - self._read_at > READ_AGAIN_S:
            # What was read last is in force while the store is away.
            with (
                suppress(ClickMWError),
                closing(open_store(self._url, StoreOptions())) as store,
            ):
                self._stored = store.list_keys()
            self._read_at = time.monotonic()
        return self._stored


def make_key(settings: Settings, scope: str, site: str | None, name: str) -> tuple[str, StoredKey]:
    """Return the text of a new key, which is kept nowhere, and what the store keeps of it."""
    key_id = secrets.token_hex(4)
    text = f"cmw_{key_id}_{secrets.token_urlsafe(32)}"
    digest = _digest(derive_keys(settings.secret, (), "keys")[0], text)
    return text, StoredKey(key_id, digest, scope, site, time.time_ns() // 1_000_000, name)


def _digest(hashing: bytes, text: str) -> str:
    return hmac.new(hashing, text.encode(), sha256).hexdigest()


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
