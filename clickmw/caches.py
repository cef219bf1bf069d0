"""Whether a cache between us and the visitors may keep an answer."""

from __future__ import annotations

import contextlib
import re
from email.utils import parsedate_to_datetime


def is_shared(headers: dict[str, str]) -> bool:
    """Tell whether a cache may give this answer to other visitors (RFC 9111, RFC 9213).

    Explicit freshness without ``private`` or ``no-store`` is enough; *headers* have lower-case names.
    """
    control = headers.get("cache-control", "").lower()
    if re.search(r"\b(private|no-store)\b", control):
        control = ""
        may_keep = False
    else:
        may_keep = bool(re.search(r"\bpublic\b|\bs-maxage\b|\bmax-age\s*=\s*\"?[1-9]", control))
        may_keep = may_keep or ("max-age" not in control and _expires_later(headers))
    for name in ("cdn-cache-control", "surrogate-control"):
        targeted = headers.get(name, "").lower()
        if targeted:
            return not re.search(r"\b(private|no-store)\b", targeted)
    return may_keep


def _expires_later(headers: dict[str, str]) -> bool:
    with contextlib.suppress(TypeError, ValueError):
        expires = parsedate_to_datetime(headers.get("expires", ""))
        date = headers.get("date")
        now = parsedate_to_datetime(date) if date else expires.now(expires.tzinfo)
        return expires > now
    return False
