"""The URLs of an ad: where it reports that it was served, seen and clicked, and what it was.

Whoever shows an ad never builds them. Their query says in readable words which ad this is; ``sign``
proves that we wrote it. What a client adds behind ``sign`` (a session, a position) is its own word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hmac import compare_digest
from typing import NamedTuple
from urllib.parse import quote, urlencode

from clickmw.errors import BadEvent
from clickmw.events import is_query_id
from clickmw.module_codes import is_module_code
from clickmw.queries import RAW_LIMIT
from clickmw.scanner import MAX_POSITION
from clickmw.tokens import Mac, derive_keys
from clickmw.wire import Pairs, clean_text

#: An ad id comes back unchanged as one segment of a path.
AD_ID = r"[!-\-0-~][!-.0-~]{0,127}"
_UNSEEN = r"\s\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069"
_HOST = rf"[^/?#{_UNSEEN}][^{_UNSEEN}]{{0,2039}}"
_PATH = rf"[^/{_UNSEEN}][^{_UNSEEN}]{{0,2039}}"
#: Where an ad leads: an address of the web, or a path of the site's own.
TARGET = rf"(?:https?://{_HOST}|/(?:{_PATH})?)"
#: Characters of one URL. Many servers refuse a request line of more than 4,094.
LENGTH_LIMIT = 3_500

#: The signed parameters, in the order in which they are written.
NAMES = ("site", "url", "query", "position", "module", "query_id")
_AD_ID = re.compile(AD_ID)
_TARGET = re.compile(TARGET)


class Ad(NamedTuple):
    """What the URLs of one ad remember.

    ``url`` is where it leads, ``query`` the search beside which it is shown, as typed, or else
    ``query_id``; ``position`` counts from 1. Empty: nobody said.
    """

    ad_id: str
    site: str
    url: str = ""
    query: str = ""
    position: int | None = None
    module_code: str = ""
    query_id: str = ""


class AdUrls(NamedTuple):
    """Where the beacons of one ad are sent, each with POST."""

    impression_url: str
    view_url: str
    click_url: str


class AdSigner:
    """Sign with the newest secret, verify with all."""

    def __init__(self, secret: str, old_secrets: tuple[str, ...] = ()) -> None:
        self._macs = [Mac(key) for key in derive_keys(secret, old_secrets, "ads")]

    def urls(self, ad: Ad, base: str = "") -> AdUrls:
        """Return the signed URLs of *ad* below *base*, or raise :class:`BadEvent` with what is wrong.

        A query that would make them longer than 3,500 characters is left out: what a visitor typed
        must not cost the ad its URLs.
        """
        ad = ad._replace(query=clean_text(ad.query, RAW_LIMIT))
        _check(ad)
        urls = self._signed(ad, base)
        if ad.query and len(urls.impression_url) > LENGTH_LIMIT:
            urls = self._signed(ad._replace(query=""), base)
        if len(urls.impression_url) > LENGTH_LIMIT:
            raise BadEvent(f"the URLs of this ad would be longer than {LENGTH_LIMIT} characters")
        return urls

    def read(self, ad_id: str, query: Pairs) -> Ad | None:
        """Return what the URL of *ad_id* says with the parameters *query*, None when we did not sign it."""
        facts, proof = _split(query)
        if not proof:
            return None
        payload = _framed(ad_id, facts)
        if not any(compare_digest(mac(payload), proof) for mac in self._macs):
            return None
        told = dict(facts)
        position = told.get("position")
        return Ad(
            ad_id,
            told.get("site", ""),
            told.get("url", ""),
            told.get("query", ""),
            int(position) if position else None,
            told.get("module", ""),
            told.get("query_id", ""),
        )

    def _signed(self, ad: Ad, base: str) -> AdUrls:
        facts = [(name, str(fact)) for name, fact in zip(NAMES, ad[1:], strict=True) if fact]
        proof = self._macs[0](_framed(ad.ad_id, facts)).decode()
        return plain_urls(ad.ad_id, base, [*facts, ("sign", proof)])


def plain_urls(ad_id: str, base: str, parameters: Pairs | None = None) -> AdUrls:
    """Return the URLs of *ad_id* below *base*; without *parameters* they say nothing of the ad."""
    tail = quote(ad_id, safe="", errors="replace")
    if parameters:
        tail += "?" + urlencode(parameters, errors="replace")
    impression, view, click = (
        f"{base}/v1/beacon/{what}/{tail}" for what in ("impression", "view", "click")
    )
    return AdUrls(impression, view, click)


def _check(ad: Ad) -> None:
    if not _AD_ID.fullmatch(ad.ad_id):
        raise BadEvent(
            "ad_id is 1 to 128 visible ASCII characters without a slash, the first no dot"
        )
    if ad.url and not _TARGET.fullmatch(ad.url):
        raise BadEvent(
            "url begins with https://, http:// or one slash, has no white space and at most "
            "2,048 characters"
        )
    if ad.position is not None and not _is_position(ad.position):
        raise BadEvent(f"position is a whole number from 1 to {MAX_POSITION}")
    if ad.module_code and not is_module_code(ad.module_code):
        raise BadEvent("module is 1 to 32 of the characters A-Z a-z 0-9 - _")
    if ad.query_id and not is_query_id(ad.query_id):
        raise BadEvent("query_id is the 16 characters that clicks.search() gives")


def _is_position(number: object) -> bool:
    return isinstance(number, int) and number is not True and 1 <= number <= MAX_POSITION


def _split(query: Pairs) -> tuple[Pairs, bytes]:
    """Return the facts of a URL and the proof behind them; b"" when there is none."""
    facts: Pairs = []
    for name, value in query:
        if name == "sign":
            return facts, value.encode("utf-8", "replace")
        if name in NAMES:
            facts.append((name, value))
    return facts, b""


def _framed(ad_id: str, facts: Iterable[tuple[str, str]]) -> bytes:
    """Return what is signed: each text with its length, so that no two ads make the same bytes."""
    text = f"{len(ad_id)} {ad_id}"
    for name, value in facts:
        text += f"{name} {len(value)} {value}"
    return text.encode("utf-8", "replace")
