"""How many wrong passwords are looked at: so many from one address, more from all together.

All of it is in the memory of this process and of a bounded size; no address is written anywhere.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from clickmw.buckets import TokenBuckets
from clickmw.visitors import address_prefix, behind_unnamed_proxy, client_address

#: Wrong passwords of one address (of an IPv6 one: of its /64) at once, and then in a minute.
FROM_ONE = 10
#: Wrong passwords of all addresses together: who has very many gains little by them.
FROM_ALL = 100
#: Addresses that knew the password, which those of all others do not keep out.
MOST_KNOWN = 100


class Guesses:
    """Count wrong passwords; tell whose next password is not looked at."""

    def __init__(self, trusted_proxies: int) -> None:
        self._trusted_proxies = trusted_proxies
        self._one = TokenBuckets(FROM_ONE / 60, FROM_ONE)
        self._all = TokenBuckets(FROM_ALL / 60, FROM_ALL)
        self._known: dict[str, None] = {}  # the one that came last stands last

    def exhausted(self, environ: Mapping[str, Any]) -> bool:
        """Tell whether too many were wrong: none from there is looked at now, the right one included."""
        address, now_s = self._address(environ), time.monotonic()
        if address and self._one.is_empty(address, now_s):
            return True
        return address not in self._known and self._all.is_empty("", now_s)

    def note_wrong(self, environ: Mapping[str, Any]) -> None:
        """Take note of a wrong password."""
        address, now_s = self._address(environ), time.monotonic()
        if address:
            self._one.allows(address, now_s)
        if address not in self._known:
            self._all.allows("", now_s)

    def note_right(self, environ: Mapping[str, Any]) -> None:
        """Take note of the right password: strangers do not keep out who comes from there."""
        address = self._address(environ)
        if not address:
            return
        self._known.pop(address, None)
        self._known[address] = None
        for oldest in list(self._known)[:-MOST_KNOWN]:
            self._known.pop(oldest, None)

    def _address(self, environ: Mapping[str, Any]) -> str:
        """Return what tells senders apart, "" where all seem to come from one proxy."""
        if behind_unnamed_proxy(environ, self._trusted_proxies):
            return ""
        return address_prefix(client_address(environ, self._trusted_proxies))
