"""Ids of texts, made of the texts themselves: hosts that know nothing of each other choose the same."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b


@lru_cache(maxsize=100_000)
def number_of(text: str) -> int:
    """Return the id of a text: 62 bits of its hash; 0 for none."""
    if not text:
        return 0
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) >> 2 or 1


def query_number(text: str) -> int:
    """Return the id of a query; the empty one has an id too."""
    return number_of(text) or 1
