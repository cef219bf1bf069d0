"""What a visitor typed: masked of personal data, and in the one form under which it is counted."""

from __future__ import annotations

import re
from unicodedata import normalize

RAW_LIMIT = 2_000  #: characters of raw text that are looked at
NORMAL_LIMIT = 512  #: characters of a normal query

# Every pattern is linear: a run is entered once (look-behind) or has a fixed greatest length.
_SSN = re.compile(r"\b\d{3}[- xX._+]?\d{2}[- xX._+]?\d{4}\b")
_EMAIL = re.compile(
    r"(?<![\w.+'-])[\w.+'-]++(?:@|%40)(?:[\w-]++\.)+(?!\d)\w{2}[\w-]*+",
)
_PHONE = re.compile(r"(?<!\w)(?:\+?1[-. +]?)?\(?\d{3}\)?[-. +]?\d{3}[-. +]?\d{4}\b")
_CARD = re.compile(
    r"\b(?:3[47]\d\d[- +]?\d{6}[- +]?\d{5}"  # American Express
    r"|(?:6011|64[4-9]\d|65\d\d|5[1-5]\d\d|2[2-7]\d\d|4\d\d\d)(?:[- +]?\d{4}){3}"
    r"|4\d{12})\b"  # an old Visa number
)
_MASKED = re.compile(r"redacted_(?:ssn|email|phone|cc)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def mask(text: str) -> str:
    """Replace social security numbers, e-mail addresses, phone and card numbers in *text*.

    Source: Search.gov's click log; its order and its words.
    """
    text = _SSN.sub("REDACTED_SSN", text)
    if "@" in text or "%40" in text:
        text = _EMAIL.sub("REDACTED_EMAIL", text)
    text = _PHONE.sub("REDACTED_PHONE", text)
    return _CARD.sub("REDACTED_CC", text)


def normal_query(text: str) -> str:
    """Return the form under which *text* is counted; any text is accepted.

    Masked, NFKC, case-folded (but for the words of the masks), control characters and runs of white
    space as one space, trimmed; at most 512 characters, and "" when nothing is left.
    """
    text = mask(_SURROGATE.sub("\ufffd", text[:RAW_LIMIT]))
    text = normalize("NFKC", normalize("NFKC", text).casefold())
    text = " ".join(_CONTROL.sub(" ", text).split())
    # Masked again: full-width digits and tabs have only now become what the patterns know.
    return _MASKED.sub(_upper, mask(text))[:NORMAL_LIMIT].rstrip()


def _upper(word: re.Match[str]) -> str:
    return word[0].upper()
