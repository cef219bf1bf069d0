"""Who is asking, as far as we choose to tell: an address, a wish, and a hash that lasts a day."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import blake2b
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from secrets import token_bytes, token_hex
from typing import Any

from clickmw.errors import ClickMWError

_FORWARDED_LIMIT = 2_048  # characters of X-Forwarded-For; a longer one is made up
_CACHED_LIMIT = 512  # characters of an agent that is remembered: strangers choose them
_FORWARDING_HEADERS = ("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP")
_SALT_BYTES = 32
_SALT_NAME = re.compile(r"\.?salt-([0-9]{1,8})(?:\.[0-9a-f]{16})?")  # the longer ones are drafts
_UNKNOWN = b""
_RETRY_S = 60.0
PREFETCH_HEADERS = (
    "HTTP_SEC_PURPOSE",
    "HTTP_X_SEC_PURPOSE",
    "HTTP_PURPOSE",
    "HTTP_X_PURPOSE",
    "HTTP_X_MOZ",
)
OPTOUT_COOKIE = "clickmw_optout=1"
_PREFETCHES = ("prefetch", "prerender", "preview")


def client_address(environ: Mapping[str, Any], trusted_proxies: int) -> str:
    """Return the address of the client, "" when the server does not say.

    With ``trusted_proxies`` = N it is the N-th from the right of X-Forwarded-For; whatever is no
    plain address there gives way to REMOTE_ADDR.
    """
    remote: str = environ.get("REMOTE_ADDR") or ""
    if trusted_proxies < 1:
        return remote
    forwarded: str = environ.get("HTTP_X_FORWARDED_FOR") or ""
    if not forwarded or len(forwarded) > _FORWARDED_LIMIT:
        return remote
    parts = forwarded.rsplit(",", trusted_proxies)
    if len(parts) < trusted_proxies:
        return remote
    address = parts[-trusted_proxies].strip()
    return address if _is_address(address) else remote


def behind_unnamed_proxy(environ: Mapping[str, Any], trusted_proxies: int) -> bool:
    """Tell whether a proxy stands before us that ``trusted_proxies`` does not count.

    Every visitor then seems to have the proxy's address, so nothing may be limited by address.
    """
    if trusted_proxies > 0 or not any(name in environ for name in _FORWARDING_HEADERS):
        return False
    return _is_inside(environ.get("REMOTE_ADDR") or "")


@lru_cache(maxsize=4096)
def address_prefix(address: str) -> str:
    """Return what of *address* tells visitors apart: a whole IPv4 address, the /64 of an IPv6 one.

    Text that is no address comes back as it is.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{IPv6Address(int(parsed) >> 64 << 64)}/64"


def opted_out(environ: Mapping[str, Any]) -> bool:
    """Tell whether the visitor asks not to be counted.

    By Global Privacy Control, by Do Not Track, or by the cookie of the snippet's ``optOut()``.
    """
    if environ.get("HTTP_SEC_GPC") == "1" or environ.get("HTTP_DNT") == "1":
        return True
    cookies: str = environ.get("HTTP_COOKIE", "")
    # Most requests have cookies, and nearly none this one: one look tells.
    if OPTOUT_COOKIE not in cookies:
        return False
    return OPTOUT_COOKIE in map(str.strip, cookies.split(";"))


def is_prefetch(environ: Mapping[str, Any]) -> bool:
    """Tell whether a browser or a library asks in advance, before anybody has clicked."""
    for name in PREFETCH_HEADERS:
        value = environ.get(name)
        if value and value.lower().startswith(_PREFETCHES):
            return True
    return False


def visitor_id(salt: bytes, site: str, address: str, agent: str) -> str:
    """Return 16 hex digits that stand for one visitor of one site while *salt* is in use.

    Remembered for a while: who was shown a page is about to click on it.
    """
    find = _visitor_id if len(agent) <= _CACHED_LIMIT else _visitor_id.__wrapped__
    return find(salt, site, address, agent)


@lru_cache(maxsize=4096)
def _visitor_id(salt: bytes, site: str, address: str, agent: str) -> str:
    prefix = address_prefix(address)
    # The lengths say where a part ends, so that no two visitors make the same text.
    framed = f"{len(site)} {len(prefix)} {site}{prefix}{agent}".encode("utf-8", "surrogatepass")
    return blake2b(framed, digest_size=8, key=salt, person=b"clickmw.visitor").hexdigest()


#: A day and a salt for it → the salt that all hosts of an install have for that day.
Share = Callable[[int, bytes], bytes]


class Salts:
    """The random salts of a folder: one for each UTC day, the same in all its processes.

    With *share* they are the same on all hosts; while that fails, those of this folder.

    Days are whole days since 1970. A salt is a file of mode 0600, made by whoever needs it first
    and destroyed after two days. No locks: a process that forks at any moment stays sound.
    """

    def __init__(self, folder: Path, share: Share | None = None) -> None:
        self._folder = folder
        self._share = share
        self._today = -1
        self._salts: dict[int, bytes | None] = {}
        self._alone: dict[int, tuple[float, bytes]] = {}  # day → when to try the folder again, salt

    def salt(self, day: int, *, today: int) -> bytes | None:
        """Return the salt of *day*; None when it is destroyed, never was, or lies after tomorrow."""
        salt = self._salts.get(day, _UNKNOWN) if today == self._today else _UNKNOWN
        return self._find(day, today) if salt == _UNKNOWN else salt

    def keep(self, *, today: int) -> None:
        """Have the salts of today and tomorrow before a visitor waits for them; destroy old ones."""
        for day in (today, today + 1):
            self.salt(day, today=today)
        self.forget(today=today)

    def forget(self, *, today: int) -> None:
        """Destroy the salts that are more than two days old, here and in the folder."""
        _visitor_id.cache_clear()
        for known in (self._salts, self._alone):
            for day in list(known):  # at once: other threads may add to it
                if day < today - 2:
                    known.pop(day, None)
        with contextlib.suppress(OSError):
            for path in list(self._folder.iterdir()):
                found = _SALT_NAME.fullmatch(path.name)
                if found and int(found[1]) < today - 2:
                    path.unlink(missing_ok=True)

    def _find(self, day: int, today: int) -> bytes | None:
        if today != self._today:
            self.forget(today=today)
            known = list(self._salts.items())
            self._salts = {kept: salt for kept, salt in known if salt is not None}
            self._today = today
        if not today - 2 <= day <= today + 1:
            return None
        until, own = self._alone.get(day, (0.0, None))
        if time.monotonic() < until:
            return own
        try:
            salt = self._salts[day] = self._shared(day, make=day >= today)
        except OSError:
            return self._own(day) if day >= today or own else None
        return salt

    def _shared(self, day: int, *, make: bool) -> bytes | None:
        """Return the salt that the folder has for *day*; a past one is never made up afterwards."""
        path = self._folder / f"salt-{day}"
        try:
            return _read(path)
        except FileNotFoundError:
            if not make:
                return None
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _create(path, self._agreed(day))
        return _read(path)

    def _agreed(self, day: int) -> bytes:
        salt = token_bytes(_SALT_BYTES)
        if self._share is not None:
            with contextlib.suppress(ClickMWError):  # the store is away: a salt of this host alone
                salt = self._share(day, salt)
        return salt

    def _own(self, day: int) -> bytes:
        """Return a salt of this process alone; the folder is tried again in a minute."""
        _, salt = self._alone.setdefault(day, (0.0, token_bytes(_SALT_BYTES)))
        self._alone[day] = (time.monotonic() + _RETRY_S, salt)
        return salt


def _read(path: Path) -> bytes:
    salt = path.read_bytes()
    if len(salt) != _SALT_BYTES:
        raise OSError(f"{path} is damaged")
    return salt


def _create(path: Path, salt: bytes) -> None:
    """Bring *path* into being with *salt*, unless another process was first."""
    draft = path.with_name(f".{path.name}.{token_hex(8)}")
    try:
        _write(draft, salt)
        os.link(draft, path)
    except FileExistsError:
        pass
    except OSError:
        # A file system without hard links; who reads before all is written tries again later.
        with contextlib.suppress(FileExistsError):
            _write(path, salt)
    finally:
        draft.unlink(missing_ok=True)


def _write(path: Path, salt: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        if hasattr(os, "fchmod"):
            os.fchmod(file.fileno(), 0o600)  # the umask may have taken too much
        file.write(salt)
        file.flush()
        os.fsync(file.fileno())


@lru_cache(maxsize=4096)
def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return "%" not in text


@lru_cache(maxsize=4096)
def _is_inside(address: str) -> bool:
    """Tell whether *address* is of a private network or this machine; a local socket has none."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return True
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return (mapped or parsed).is_private or (mapped or parsed).is_loopback
