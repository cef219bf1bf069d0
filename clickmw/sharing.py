"""What the hosts of one store share: the salts of the days, and settings that must be the same on all."""

from __future__ import annotations

import hmac
import json
from socket import gethostname

from clickmw.settings import Settings
from clickmw.stores.base import Store
from clickmw.tokens import derive_keys
from clickmw.visitors import Share

#: Where the secret of a command comes from that signs nothing: it says nothing about the install.
MADE_UP = "made up by this command"
_NUMBERS = ("dedupe_window_s", "ad_dedupe_window_s", "keep_days", "time_zone", "optout")


def host_of(settings: Settings) -> str:
    """Return what this host is called among those of its store: its name, and where its journal lies.

    A command without the install's settings is no host: "".
    """
    if settings.sources.get("secret") == MADE_UP:
        return ""
    return f"{gethostname()}:{settings.journal}"


def agreed(settings: Settings) -> dict[str, str]:
    """Return the settings that all hosts must share; of the secret, what tells it from others."""
    zones = {site.handle: site.time_zone or settings.time_zone for site in settings.sites.all}
    secret = derive_keys(settings.secret, (), "fingerprint")[0].hex()[:12]
    return {
        **{name: str(getattr(settings, name)) for name in _NUMBERS},
        "visitor": "a function" if callable(settings.visitor) else settings.visitor,
        "sites": json.dumps(zones, sort_keys=True),
        "secret": f"…{secret}",
    }


def share_of(settings: Settings, store: Store) -> Share | None:
    """Return how the hosts of *store* share their salts, None where there is one host or nobody is one.

    They are masked with a key of the secret: who reads the store, or an old copy, does not have them.
    """
    if not store.shared or settings.sources.get("secret") == MADE_UP:
        return None
    key = derive_keys(settings.secret, (), "salts")[0]

    def share(day: int, salt: bytes) -> bytes:
        mask = hmac.digest(key, str(day).encode(), "sha256")
        return _masked(store.keep_salt(day, _masked(salt, mask)), mask)

    return share


def _masked(salt: bytes, mask: bytes) -> bytes:
    return bytes(one ^ other for one, other in zip(salt, mask, strict=True))
