"""The browser's files: the snippet and the report's style sheet, from a fixed list of names."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Iterable
from functools import cache
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent / "static"
TYPES = {
    "clickmw.js": "text/javascript; charset=utf-8",
    "report.css": "text/css; charset=utf-8",
}

_TAKES_GZIP = re.compile(r"\bgzip\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))", re.IGNORECASE)


@cache
def read_asset(name: str) -> bytes:
    """Return the bytes of the browser asset *name*, e.g. ``"clickmw.js"``."""
    try:
        folder = resources.files("clickmw.static")
    except ModuleNotFoundError:  # a bare checkout: static/ sits beside clickmw/
        return (CHECKOUT / name).read_bytes()
    return (folder / name).read_bytes()


@cache
def fingerprint(name: str) -> str:
    """Return 12 hex digits that change with the bytes of *name*."""
    return sha256(read_asset(name)).hexdigest()[:12]


def asset_of(file_name: str) -> tuple[str, bool] | None:
    """Return the asset that *file_name* means and whether its name is a fingerprint of its bytes."""
    if file_name in TYPES:
        return file_name, False
    stem, _, rest = file_name.partition(".")
    mark, _, suffix = rest.partition(".")
    name = f"{stem}.{suffix}"
    if name in TYPES and mark == fingerprint(name):
        return name, True
    return None


@cache
def packed_asset(name: str) -> bytes:
    """Return *name* as gzip, made once."""
    return gzip.compress(read_asset(name), mtime=0)


def serve_asset(
    environ: dict[str, Any], start_response: Callable[..., Any], name: str, immutable: bool
) -> Iterable[bytes]:
    """Answer with the asset *name*; one that is named by its fingerprint never changes."""
    is_packed = _TAKES_GZIP.search(environ.get("HTTP_ACCEPT_ENCODING", "")) is not None
    tag = f'"{fingerprint(name)}{"-gzip" if is_packed else ""}"'
    keep = "public, max-age=31536000, immutable" if immutable else "public, max-age=3600"
    headers = [
        ("ETag", tag),
        ("Cache-Control", keep),
        ("Vary", "Accept-Encoding"),
        ("X-Content-Type-Options", "nosniff"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
    ]
    if _has_it(environ.get("HTTP_IF_NONE_MATCH", ""), tag):
        start_response("304 Not Modified", headers)
        return [b""]
    body = packed_asset(name) if is_packed else read_asset(name)
    headers += [("Content-Type", TYPES[name]), ("Content-Length", str(len(body)))]
    if is_packed:
        headers.append(("Content-Encoding", "gzip"))
    start_response("200 OK", headers)
    return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]


def _has_it(if_none_match: str, tag: str) -> bool:
    known = [one.strip().removeprefix("W/") for one in if_none_match.split(",")]
    return tag in known or known == ["*"]
