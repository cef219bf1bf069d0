"""How one query differs from the next: a slip of the finger, words more or less, or other words."""

from __future__ import annotations

import re

_DIGITS = re.compile(r"\d")


def letters_apart(one: str, other: str) -> int:
    """Return by how many letters two queries differ when that looks like a slip, else 0.

    At most 2 letters inserted, left out or replaced, and no more than a third of the shorter query;
    other digits are no slip. Source: V. I. Levenshtein, Binary codes capable of correcting deletions,
    insertions and reversals, Soviet Physics Doklady 10 (1966).
    """
    if _DIGITS.findall(one) != _DIGITS.findall(other):
        return 0
    most = min(2, min(len(one), len(other)) // 3)
    if not most or abs(len(one) - len(other)) > most:
        return 0
    distance = _distance(one, other)
    return distance if distance <= most else 0


def change_of(one: str, other: str) -> str:
    """Return in words what was changed from *one* query to the *other*."""
    if letters_apart(one, other):
        return "spelling"
    before, after = set(one.split()), set(other.split())
    if before < after:
        return "words added"
    if after < before:
        return "words left out"
    return "some words changed" if before & after else "other words"


def _distance(one: str, other: str) -> int:
    above = list(range(len(other) + 1))
    for number, letter in enumerate(one, 1):
        line = [number]
        for column, second in enumerate(other, 1):
            replaced = above[column - 1] + (letter != second)
            line.append(min(replaced, above[column] + 1, line[-1] + 1))
        above = line
    return above[-1]
