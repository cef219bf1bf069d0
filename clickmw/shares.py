"""Links that show the report to whoever has them: read-only, for a while, until they are withdrawn.

Each is one small file of mode 0600 in the journal folder, so that all processes know it. The link
itself is nowhere: the file is named by a hash of it, and whoever removes the file ends the link.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from itsdangerous import BadSignature, Signer, TimestampSigner

DAY_MS = 86_400_000
#: How many days a link may last.
TERMS = (1, 7, 30, 365)
LABEL_CHARACTERS = 80
#: Whoever follows a link again begins another session.
SESSION_S = 12 * 3600
_MOST_SHARES = 500
_LONGEST_TOKEN = 300
_NAME = re.compile(r"[0-9a-f]{32}")
_PURPOSE = b"clickmw.share."


class Share(NamedTuple):
    """One link. ``name`` is a hash of it, 32 hex digits; ``site`` is a handle, "" for all sites."""

    name: str
    label: str
    site: str
    made_ms: int
    expires_ms: int

    @property
    def is_over(self) -> bool:
        """Whether its time has come."""
        return self.expires_ms <= _now_ms()


class Shares:
    """The links of an install; *folder* is its journal."""

    def __init__(self, folder: Path, secret: str, old_secrets: Sequence[str] = ()) -> None:
        self._folder = folder
        keys = [*reversed(old_secrets), secret]
        self._links = Signer(keys, _PURPOSE + b"link", digest_method=hashlib.sha256)
        self._sessions = TimestampSigner(keys, _PURPOSE + b"session", digest_method=hashlib.sha256)

    def make(self, label: str, site: str, days: int) -> str:
        """Return the token of a new link, which nobody can show again; raises OSError."""
        secret, now = secrets.token_urlsafe(18), _now_ms()
        share = Share(_name_of(secret), label, site, now, now + days * DAY_MS)
        if len(self.all()) >= _MOST_SHARES:
            raise OSError(f"there are {_MOST_SHARES} links already: withdraw some")
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(self._file(share.name), share)
        return self._links.sign(secret).decode()

    def all(self) -> list[Share]:
        """Return the links that are in force, the newest first; forget the others."""
        found = []
        for path in self._folder.glob("share-*"):
            share = self.find(path.name.removeprefix("share-"))
            if share is not None:
                found.append(share)
        return sorted(found, key=lambda share: (-share.made_ms, share.name))

    def find(self, name: str) -> Share | None:
        """Return the link called *name*, None when it is not, or no longer, in force."""
        if not _NAME.fullmatch(name):
            return None
        share = _read(self._file(name))
        if share is not None and share.is_over:
            with contextlib.suppress(OSError):
                self.revoke(name)
            return None
        return share

    def revoke(self, name: str) -> None:
        """End the link called *name*, in all processes at once; raises OSError."""
        if _NAME.fullmatch(name):
            with contextlib.suppress(FileNotFoundError):
                self._file(name).unlink()

    def follow(self, token: str) -> Share | None:
        """Return the link that *token* is, None for one that is made up, over or withdrawn."""
        secret = _unsigned(self._links, token)
        return self.find(_name_of(secret)) if secret else None

    def session(self, share: Share) -> str:
        """Return what a browser remembers of *share*."""
        return self._sessions.sign(share.name).decode()

    def of_session(self, session: str) -> Share | None:
        """Return the link that a browser remembers, None when its time or that of *session* is over."""
        name = _unsigned(self._sessions, session, max_age=SESSION_S)
        return self.find(name) if name else None

    def _file(self, name: str) -> Path:
        return self._folder / f"share-{name}"


def _name_of(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()[:32]


def _unsigned(signer: Signer, text: str, **limits: int) -> str:
    """Return what *text* proves, "" for nothing."""
    if not text or len(text) > _LONGEST_TOKEN or not text.isascii():
        return ""
    try:
        return signer.unsign(text, **limits).decode()
    except BadSignature:
        return ""


def _read(path: Path) -> Share | None:
    """Return the link that *path* holds; a file that is gone, or none of ours, holds none."""
    try:
        kept: Any = json.loads(path.read_bytes())
        return Share(
            path.name.removeprefix("share-"),
            str(kept["label"]),
            str(kept["site"]),
            int(kept["made_ms"]),
            int(kept["expires_ms"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(path: Path, share: Share) -> None:
    """Write *share* so that whoever reads *path* finds all of it or nothing."""
    content = share._asdict()
    del content["name"]
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _now_ms() -> int:
    return int(time.time() * 1000)
