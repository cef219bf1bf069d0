"""What a finding rests on, and how a share or a ratio with its interval is said in a sentence."""

from __future__ import annotations

import re
from typing import NamedTuple

from clickmw.expectation import Ratio
from clickmw.rates import Rate
from clickmw.wording import format_count, format_decimal, format_percent

_LONGEST = 80  #: characters of a stranger's text inside a sentence
_DIRECTIONS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class Evidence(NamedTuple):
    """One number behind a finding."""

    label: str
    measure: Rate | Ratio


class Finding(NamedTuple):
    """What seems to be the matter, what it rests on, and what to do about it."""

    name: str
    title: str
    sentence: str
    advice: str
    evidence: tuple[Evidence, ...]


def is_above(measure: Rate | Ratio, bound: float) -> bool:
    """Return whether the whole interval lies above *bound*."""
    return measure.low is not None and measure.low > bound


def is_below(measure: Rate | Ratio, bound: float) -> bool:
    """Return whether the whole interval lies below *bound*."""
    return measure.high is not None and measure.high < bound


def quoted(text: str) -> str:
    """Return a stranger's *text* in quotation marks, shortened, and unable to turn the words around it."""
    text = _DIRECTIONS.sub("", text)
    short = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return f"“\u2068{short}\u2069”"


def share_text(share: Rate) -> str:
    """Return a share with its interval: "12.0% [8.2–17.3]"."""
    if share.low is None or share.high is None:
        return format_percent(share.value)
    return f"{format_percent(share.value)} [{100 * share.low:.1f}–{100 * share.high:.1f}]"


def times_text(ratio: Ratio) -> str:
    """Return a ratio with its interval: "3.1 times the expected clicks [2.0–4.6]"."""
    low, high = (format_decimal(bound, 1) for bound in (ratio.low, ratio.high))
    return f"{format_decimal(ratio.value, 1)} times the expected clicks [{low}–{high}]"


def parts_text(share: Rate) -> str:
    """Return what a share is made of: "8 of 67"."""
    return f"{format_count(share.numerator)} of {format_count(share.denominator)}"
