"""Who may see the report: a callable of the host, a password, an admin key, a one-time link or a shared one."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
import time
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from itsdangerous import BadSignature, TimestampSigner

from clickmw.guesses import Guesses
from clickmw.keyring import Holder, KeyRing
from clickmw.shares import SESSION_S as SHARED_S
from clickmw.shares import Share, Shares
from clickmw.wire import mount_path, scheme_of

COOKIE = "clickmw_report"
SHARE_COOKIE = "clickmw_share"
SESSION_S = 12 * 3600
LINK_S = 5 * 60
_LONGEST_TOKEN = 300

log = logging.getLogger("clickmw")


class AccessKey(Protocol):
    """A configured key: the text and what it opens."""

    @property
    def key(self) -> str: ...
    @property
    def scope(self) -> str: ...


class AccessSettings(Protocol):
    """The settings that decide who may see the report."""

    @property
    def report_auth(self) -> Callable[[dict[str, Any]], object] | None: ...
    @property
    def admin_password(self) -> str | None: ...
    @property
    def secret(self) -> str: ...
    @property
    def old_secrets(self) -> Sequence[str]: ...
    @property
    def keys(self) -> Iterable[AccessKey]: ...
    @property
    def prefix(self) -> str: ...
    @property
    def journal(self) -> Path: ...
    @property
    def trusted_proxies(self) -> int: ...


class ReportAccess:
    """Answer whether a request may see the report, and hold its sessions.

    A session is a signed random id in a cookie; nothing is kept for it here until it is ended. What
    was used up (one-time links, ended sessions) is a small file in the journal folder, so that all
    processes know it.
    """

    def __init__(self, settings: AccessSettings, ring: KeyRing | None = None) -> None:
        self._settings = settings
        self._ring = ring
        self._guesses = Guesses(settings.trusted_proxies)
        password = (settings.admin_password or "").encode()
        # A changed password ends every session and link made before.
        salt = b"clickmw.report." + hashlib.sha256(password).digest()
        keys = [*reversed(settings.old_secrets), settings.secret]
        self._sessions = TimestampSigner(keys, salt + b"session", digest_method=hashlib.sha256)
        self._links = TimestampSigner(keys, salt + b"link", digest_method=hashlib.sha256)
        #: The links to the report that were given away; a changed password leaves them.
        self.shares = Shares(settings.journal, settings.secret, settings.old_secrets)

    @property
    def closed(self) -> bool:
        """Whether nobody was given access yet, apart from one-time links."""
        return self._settings.report_auth is None and not self._settings.admin_password

    @property
    def has_password(self) -> bool:
        """Whether a login with a password is possible."""
        return bool(self._settings.admin_password)

    def may_see(self, environ: dict[str, Any]) -> bool:
        """Return whether this request may see all of the report and change what is of it."""
        return (
            self.session(environ) is not None
            or self._host_allows(environ)
            or self._has_admin_key(environ)
            or self._has_basic_password(environ)
        )

    def session(self, environ: dict[str, Any]) -> str | None:
        """Return the id of the request's session, None without a valid one."""
        session = _unsign(self._sessions, _cookie(environ, COOKIE), SESSION_S)
        return None if session is None or self._is_spent(session) else session

    def session_cookie(self, environ: dict[str, Any]) -> str:
        """Return the ``Set-Cookie`` value that begins a new session."""
        session = self._sessions.sign(secrets.token_urlsafe(18)).decode()
        return self._cookie_header(environ, COOKIE, session, SESSION_S)

    def share(self, environ: dict[str, Any]) -> Share | None:
        """Return the shared link by which this request may read, None without one in force."""
        return self.shares.of_session(_cookie(environ, SHARE_COOKIE))

    def had_share(self, environ: dict[str, Any]) -> bool:
        """Return whether this browser followed a shared link once."""
        return _cookie(environ, SHARE_COOKIE) != ""

    def share_cookie(self, environ: dict[str, Any], share: Share) -> str:
        """Return the ``Set-Cookie`` value by which a browser reads with *share*."""
        return self._cookie_header(environ, SHARE_COOKIE, self.shares.session(share), SHARED_S)

    def end_session(self, environ: dict[str, Any]) -> str:
        """End the request's session in all processes; return the ``Set-Cookie`` value to send."""
        session = self.session(environ)
        if session is not None:
            self._spend(session)
        return self._cookie_header(environ, COOKIE, "", 0)

    def check_password(self, environ: dict[str, Any], password: str) -> bool:
        """Return whether *password* opens the report; wrong ones are counted for :meth:`throttled`."""
        if not self.has_password or self.throttled(environ):
            return False
        if _same(password, self._settings.admin_password or ""):
            self._guesses.note_right(environ)
            return True
        self._guesses.note_wrong(environ)
        return False

    def throttled(self, environ: dict[str, Any]) -> bool:
        """Return whether this process saw too many wrong passwords from there, or from everywhere."""
        return self._guesses.exhausted(environ)

    def one_time_link_token(self) -> str:
        """Return what ``report/?login=`` takes once, for five minutes."""
        return self._links.sign(secrets.token_urlsafe(18)).decode()

    def use_link(self, token: str) -> bool:
        """Return whether *token* is a one-time link that was never used; it is used up now."""
        nonce = _unsign(self._links, token, LINK_S)
        return nonce is not None and self._spend(nonce)

    def origin(self, environ: dict[str, Any]) -> str:
        """Return scheme and host by which the report is asked for."""
        scheme = scheme_of(environ, self._settings.trusted_proxies)
        return f"{scheme}://{environ.get('HTTP_HOST') or environ.get('SERVER_NAME', '')}"

    def _host_allows(self, environ: dict[str, Any]) -> bool:
        allows = self._settings.report_auth
        if allows is None:
            return False
        try:
            return bool(allows(environ))
        except Exception:
            log.exception("report_auth failed; the report stays closed to this request")
            return False

    def _has_admin_key(self, environ: dict[str, Any]) -> bool:
        given = str(environ.get("HTTP_X_API_KEY", ""))
        admins = [key.key for key in self._settings.keys if key.scope == "admin"]
        if bool(given) and any(_same(given, key) for key in admins):
            return True
        return self._ring is not None and self._ring.find(given) == Holder("admin", None)

    def _has_basic_password(self, environ: dict[str, Any]) -> bool:
        scheme, _, value = str(environ.get("HTTP_AUTHORIZATION", "")).partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            pair = b64decode(value.strip(), validate=True).decode("utf-8", "replace")
        except (Base64Error, ValueError):
            return False
        return self.check_password(environ, pair.partition(":")[2])

    def _cookie_header(self, environ: dict[str, Any], name: str, value: str, seconds: int) -> str:
        path = mount_path(environ.get("SCRIPT_NAME", "")) + self._settings.prefix
        is_https = scheme_of(environ, self._settings.trusted_proxies) == "https"
        secure = "; Secure" if is_https else ""
        return f"{name}={value}; Max-Age={seconds}; Path={path}; HttpOnly; SameSite=Lax{secure}"

    def _spent_file(self, name: str) -> Path:
        digest = hashlib.sha256(name.encode()).hexdigest()[:32]
        return self._settings.journal / f"login-{digest}"

    def _is_spent(self, name: str) -> bool:
        return self._spent_file(name).exists()

    def _spend(self, name: str) -> bool:
        """Return whether *name* was never spent; a folder that cannot be written spends nothing."""
        self._forget_old()
        try:
            self._settings.journal.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
            os.close(os.open(self._spent_file(name), flags, 0o600))
        except FileExistsError:
            return False
        except OSError as error:
            log.error("cannot note a used login in the journal folder: %s", error.strerror)
            return False
        return True

    def _forget_old(self) -> None:
        oldest = time.time() - SESSION_S - 60
        for path in self._settings.journal.glob("login-*"):
            try:
                if path.stat().st_mtime < oldest:
                    path.unlink(missing_ok=True)
            except OSError:
                continue


def is_same_origin(environ: dict[str, Any]) -> bool:
    """Return whether a form was sent by a page of this host, or by no browser at all."""
    site = environ.get("HTTP_SEC_FETCH_SITE")
    if site is not None:
        return site in {"same-origin", "none"}
    origin = environ.get("HTTP_ORIGIN")
    if origin is None:
        return True
    try:
        host = urlsplit(str(origin)).netloc.lower()
    except ValueError:
        return False
    return host != "" and host == str(environ.get("HTTP_HOST", "")).lower()


def _same(given: str, expected: str) -> bool:
    # Digests first: compare_digest gives away the length of texts of different lengths.
    digests = [
        hashlib.sha256(text.encode("utf-8", "replace")).digest() for text in (given, expected)
    ]
    return hmac.compare_digest(*digests)


def _unsign(signer: TimestampSigner, token: str, seconds: int) -> str | None:
    if not token or len(token) > _LONGEST_TOKEN or not token.isascii():
        return None
    try:
        return signer.unsign(token, max_age=seconds).decode()
    except BadSignature:
        return None


def _cookie(environ: dict[str, Any], name: str) -> str:
    # By hand: other cookies of the host may be bytes that a strict parser raises on.
    for part in str(environ.get("HTTP_COOKIE", "")).split(";"):
        key, _, value = part.strip().partition("=")
        if key == name:
            return value
    return ""
