"""The browser's files: the snippet's three scripts, and the report's style sheet and keys, from a fixed list.

The snippet's are packed when they are built (``static/source/build.mjs``): each has a ``.gz`` and a
``.br`` beside it. Nothing here needs Brotli.
"""

from __future__ import annotations

import gzip
import re
from base64 import b64encode
from collections.abc import Callable, Iterable
from functools import cache
from hashlib import sha256, sha384
from importlib import resources
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent / "static"
SCRIPTS = ("clickmw.js", "clickmw.extra.js", "clickmw.feedback.js")
TYPES = {
    **dict.fromkeys(SCRIPTS, "text/javascript; charset=utf-8"),
    "report.css": "text/css; charset=utf-8",
    "report.js": "text/javascript; charset=utf-8",
}

#: Encoding → how the name of a packed file ends, the smallest first.
_PACKED = {"br": ".br", "gzip": ".gz"}
#: A page of another site may have our script, and check its integrity.
_FOR_ALL = [
    ("Cross-Origin-Resource-Policy", "cross-origin"),
    ("Access-Control-Allow-Origin", "*"),
]
_FOR_US = [("Cross-Origin-Resource-Policy", "same-origin")]
_FINGERPRINT = re.compile(r"[0-9a-f]{12}")
_NEVER = re.compile(r"\s*q\s*=\s*0(?:\.0*)?\s*$", re.IGNORECASE)


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


def marked_name(name: str, mark: str = "") -> str:
    """Return *name* with its fingerprint, or *mark*, in it: it changes with the bytes."""
    stem, _, suffix = name.rpartition(".")
    return f"{stem}.{mark or fingerprint(name)}.{suffix}"


@cache
def integrity(name: str) -> str:
    """Return what a tag's ``integrity`` says of *name*. Source: W3C Subresource Integrity."""
    return "sha384-" + b64encode(sha384(read_asset(name)).digest()).decode()


def script_tag(name: str, folder: str) -> str:
    """Return the tag that loads *name* from *folder*: our prefix, or an address that ends with it."""
    cors = ' crossorigin="anonymous"' if "://" in folder else ""
    return (
        f'<script async src="{folder}/{marked_name(name)}" '
        f'integrity="{integrity(name)}"{cors}></script>'
    )


def asset_of(file_name: str) -> tuple[str, bool] | None:
    """Return the asset that *file_name* means and whether its name is a fingerprint of its bytes.

    The fingerprint of another version means today's file: a page that a cache gave out may be older
    than this process.
    """
    if file_name in TYPES:
        return file_name, False
    marked, _, suffix = file_name.rpartition(".")
    stem, _, mark = marked.rpartition(".")
    name = f"{stem}.{suffix}"
    if name in TYPES and _FINGERPRINT.fullmatch(mark):
        return name, mark == fingerprint(name)
    return None


@cache
def packed_asset(name: str, encoding: str) -> bytes | None:
    """Return *name* as "br" or "gzip", None when there is no such file."""
    if name in SCRIPTS:
        return read_asset(name + _PACKED[encoding])
    return gzip.compress(read_asset(name), mtime=0) if encoding == "gzip" else None


def serve_asset(
    environ: dict[str, Any], start_response: Callable[..., Any], name: str, immutable: bool
) -> Iterable[bytes]:
    """Answer with the asset *name*; one that is named by its fingerprint never changes."""
    encoding = _encoding(environ.get("HTTP_ACCEPT_ENCODING", ""), name)
    tag = f'"{fingerprint(name)}{"-" if encoding else ""}{encoding}"'
    keep = "public, max-age=31536000, immutable" if immutable else "public, max-age=3600"
    headers = [
        ("ETag", tag),
        ("Cache-Control", keep),
        ("Vary", "Accept-Encoding"),
        ("X-Content-Type-Options", "nosniff"),
        *(_FOR_ALL if name in SCRIPTS else _FOR_US),
    ]
    if _has_it(environ.get("HTTP_IF_NONE_MATCH", ""), tag):
        start_response("304 Not Modified", headers)
        return [b""]
    body = (encoding and packed_asset(name, encoding)) or read_asset(name)
    headers += [("Content-Type", TYPES[name]), ("Content-Length", str(len(body)))]
    if encoding:
        headers.append(("Content-Encoding", encoding))
    start_response("200 OK", headers)
    return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]


def _encoding(accepted: str, name: str) -> str:
    """Return the smallest form of *name* that is *accepted*; "" for the plain one."""
    taken = {
        coding.strip().lower()
        for coding, _, quality in (part.partition(";") for part in accepted.split(","))
        if not _NEVER.match(quality)
    }
    return next((each for each in _PACKED if each in taken and packed_asset(name, each)), "")


def _has_it(if_none_match: str, tag: str) -> bool:
    known = [one.strip().removeprefix("W/") for one in if_none_match.split(",")]
    return tag in known or known == ["*"]
