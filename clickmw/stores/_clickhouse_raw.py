"""Events on their way into ClickHouse: their bytes, and what they have in common with others.

What a report says of an event depends on others alone that share a key with it: a visitor, a page, a
sender's key, a browser's id. Each key is a ``link`` of 8 bytes; two keys that are the same by chance
bring events together that have nothing to do with each other, which changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from struct import Struct
from struct import error as StructError

from clickmw.errors import BadEvent
from clickmw.events import Event, decode_event, encode_events, query_id_bytes
from clickmw.stores.base import Record, Stored

_TIME = Struct("<q").pack
#: Fields that hold 12 bytes in 16 characters, and fields in hex digits.
_IDS = ("query_id", "view_id", "client_id")
_KEYS = ("visitor", "dedupe_key")
ADD_RAW = "INSERT INTO raw (event_id, received_ms, links, body) FORMAT RowBinary"
#: Fields of each kind of event that are links, found once.
_LINKS: dict[type, tuple[tuple[int, ...], tuple[int, ...]]] = {}


def encode(records: Iterable[Record]) -> bytes:
    """Return the events of *records* as rows of ``raw`` in the format RowBinary.

    What cannot be kept is :class:`BadEvent`.
    """
    parts: list[bytes] = []
    try:
        for record in records:
            for event_id, event in record.events:
                links = links_of(event)
                body = record.body or encode_events((event,))[1:-1].encode()
                if b"\\ud" in body:  # half of a character, maybe
                    json.dumps(json.loads(body), ensure_ascii=False).encode()
                head = event_id + _TIME(event.received_ms)
                parts += (head, _COUNTS[len(links)], links, _length(len(body)), body)
    # An error of struct is no ValueError.
    except (ValueError, TypeError, AttributeError, OverflowError, StructError) as error:
        raise BadEvent(f"{type(error).__name__}: {error}") from error
    return b"".join(parts)


#: How many links there are, by their length.
_COUNTS = {8 * count: bytes((count,)) for count in range(len(_IDS + _KEYS) + 1)}


def _length(count: int) -> bytes:
    """Return a number as RowBinary has it before a text: seven bits a byte, the last one below 128."""
    if count < 128:
        return bytes((count,))
    if count < 16_384:
        return bytes((count & 127 | 128, count >> 7))
    return bytes((count & 127 | 128,)) + _length(count >> 7)


def links_of(event: Event) -> bytes:
    """Return the links of *event*, 8 bytes each."""
    kind = type(event)
    found = _LINKS.get(kind)
    if found is None:
        fields = event._fields
        ids = tuple(fields.index(name) for name in _IDS if name in fields)
        keys = tuple(fields.index(name) for name in _KEYS if name in fields)
        found = _LINKS[kind] = ids, keys
    links = b""
    for index in found[0]:
        if event[index]:
            links += query_id_bytes(event[index])[4:]  # type: ignore[arg-type]
    for index in found[1]:
        if event[index]:
            links += bytes.fromhex(event[index])[:8].rjust(8, b"\0")  # type: ignore[arg-type]
    return links


def decode(line: bytes) -> Stored:
    """Return the event of a line of id (in hex) and body."""
    event_id, _, body = line.partition(b"\t")
    return Stored(bytes.fromhex(event_id.decode()), decode_event(json.loads(body)))
