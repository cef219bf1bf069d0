"""Results that a sender knows by the MD5 of their URL: which URL that is, among those that are there.

Nothing is kept for it but that it is wanted: such an id means what the results say that are known, and
a batch that names one brings the clicks with that id along, to be decided again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set

from clickmw.events import Click
from clickmw.stores._clickhouse_dialect import members
from clickmw.stores._clickhouse_http import Client
from clickmw.stores._sqlite_digests import best_by_digest, is_docid, prefers
from clickmw.stores._sqlite_intake import texts_of
from clickmw.stores.base import Stored

_REST = "substring(url, position(url, '://'))"
FIND_URLS = f"""
-- One row per URL that one of these ids may mean.
SELECT DISTINCT url FROM result
 WHERE lower(hex(MD5(concat('http', {_REST})))) IN {{docids}}
    OR lower(hex(MD5(concat('https', {_REST})))) IN {{docids}}
"""
FIND_NAMED = """
-- One row per id that clicks came with, and the URL that they stand with.
SELECT DISTINCT click.doc_id, result.url
  FROM (SELECT DISTINCT doc_id, result FROM click WHERE by_digest = 1) AS click
  JOIN (SELECT id, url FROM result WHERE id IN (SELECT result FROM click WHERE by_digest = 1)) AS result
    ON result.id = click.result
"""
#: The clicks with some ids, among what is chosen to be decided.
PICK_CLICKS = """
INSERT INTO {run}_picked SELECT toFixedString(event_id, 16) FROM click
 WHERE by_digest = 1 AND doc_id IN {docids}
"""


def docids_of(events: Sequence[Stored]) -> set[str]:
    """Return the ids that clicks of *events* came with."""
    clicks = (event for _, event in events if isinstance(event, Click))
    return {click.doc_id for click in clicks if is_docid(click)}


def urls_of(client: Client, docids: Set[str]) -> dict[str, str]:
    """Return which URL each of *docids* means, of those that are known."""
    rows = client.rows(FIND_URLS.format(docids=members(sorted(docids))))
    meant = _meant_by(rows)
    return {docid: meant[docid] for docid in docids & meant.keys()}


def newly_named(client: Client, events: Sequence[Stored]) -> set[str]:
    """Return the ids of clicks whose URL *events* name better than it was known."""
    named: Mapping[str, str] = dict(client.rows(FIND_NAMED))
    if not named:
        return set()
    meant = _meant_by(texts_of(events, {})[0])
    return {docid for docid in named.keys() & meant.keys() if prefers(meant[docid], named[docid])}


def _meant_by(results: Iterable[tuple[str, ...]]) -> dict[str, str]:
    return {digest.hex(): url for digest, (url, *_) in best_by_digest(results).items()}
