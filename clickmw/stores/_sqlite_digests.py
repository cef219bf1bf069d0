"""Results that a sender knows by the MD5 of their URL: which URL that is.

Only installs with an AddSearch site keep these digests; others have none and pay nothing.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from hashlib import md5
from typing import Any, NamedTuple, TypeVar

from clickmw.counting import OUR_SOURCES
from clickmw.events import Click
from clickmw.stores._sqlite_dictionaries import Dictionaries, look_up, result_key

Result = TypeVar("Result", bound=tuple[Any, ...])
_DIGEST = re.compile(r"[0-9a-f]{32}")
#: The line of ``meta`` that says that digests are kept.
SWITCH = "url_digests"

FIND_DIGESTS = """
-- One row per digest that is known already, with its result.
SELECT digest, result.id, result.url FROM url_digest JOIN result ON result.id = url_digest.result
 WHERE digest IN ({})
"""
SET_DIGEST = """
-- One row per digest.
INSERT INTO url_digest (digest, result) VALUES (?, ?)
    ON CONFLICT (digest) DO UPDATE SET result = excluded.result
"""
FIND_RESULT = """
-- At most one row: the result that clicks on a URL have which came without a name of its own.
SELECT id FROM result WHERE url = ? AND doc_id = ''
"""


class Moved(NamedTuple):
    """Clicks that named their result by *docid* leave the result *old* for the one of *url*."""

    old: int
    docid: str
    url: str


def digests_of(url: str) -> list[bytes]:
    """Return the MD5 of the http and of the https form of *url*; none for what is no such URL.

    Source: AddSearch's documents have the MD5 of the http form as the id of an https page.
    """
    scheme, found, rest = url.partition("://")
    if not found or scheme not in ("http", "https"):
        return []
    forms = (f"http://{rest}", f"https://{rest}")
    return [md5(form.encode(), usedforsecurity=False).digest() for form in forms]


def prefers(url: str, other: str) -> bool:
    """Tell whether a digest means *url* rather than *other*: any URL before none, https before http."""
    return not other or (url.startswith("https:") and other.startswith("http:"))


def best_by_digest(results: Iterable[Result]) -> dict[bytes, Result]:
    """Return digest → which of *results*, that begin with their URL, it means."""
    best: dict[bytes, Result] = {}
    for result in results:
        for digest in digests_of(result[0]):
            if digest not in best or prefers(result[0], best[digest][0]):
                best[digest] = result
    return best


def is_docid(click: Click) -> bool:
    """Tell whether *click* names its result by such an id alone."""
    sent = click.source not in OUR_SOURCES and not click.url
    return sent and _DIGEST.fullmatch(click.doc_id) is not None


def switch_on(connection: sqlite3.Connection) -> None:
    """Keep digests from now on, and make those of all URLs that are known."""
    connection.execute("INSERT INTO meta (key, value) VALUES (?, '1')", (SWITCH,))
    results = connection.execute("SELECT url, id FROM result WHERE url <> '' ORDER BY id")
    best = best_by_digest(results)
    waiting = connection.execute("SELECT DISTINCT doc_id, result FROM click WHERE by_digest")
    for docid, result in waiting:
        best.setdefault(bytes.fromhex(docid), ("", result))
    rows = [(digest, result) for digest, (_url, result) in sorted(best.items())]
    connection.executemany(SET_DIGEST, rows)


def are_kept(connection: sqlite3.Connection) -> bool:
    """Tell whether digests were ever switched on in this database."""
    sql = "SELECT count(*) FROM meta WHERE key = ?"
    return bool(connection.execute(sql, (SWITCH,)).fetchone()[0])


class Digests:
    """The digests that one append needs and makes.

    ``targets`` says for each such id of the batch under which URL and id its result is kept.
    """

    def __init__(self, connection: sqlite3.Connection, dictionaries: Dictionaries) -> None:
        self.connection = connection
        self.dictionaries = dictionaries
        if dictionaries.digests is None:
            dictionaries.digests = are_kept(connection)
        self.on = dictionaries.digests
        self.targets: dict[str, tuple[str, str]] = {}

    def learn(self, results: Iterable[tuple[str, str]]) -> list[Moved]:
        """Keep the digests of *results* that were learned; return whose result became known by that."""
        wanted = best_by_digest(sorted(results))
        moved = []
        for digest, (result, old) in self._known(list(wanted)).items():
            url = wanted[digest][0]
            if prefers(url, old):
                moved += self._left(result, old, digest, url)
            else:
                del wanted[digest]
        ids = self.dictionaries.results
        rows = [(digest, ids[result_key(*pair)]) for digest, pair in sorted(wanted.items())]
        self.connection.executemany(SET_DIGEST, rows)
        return moved

    def _left(self, result: int, old: str, digest: bytes, url: str) -> list[Moved]:
        if not old:
            return [Moved(result, digest.hex(), url)]
        rows = self.connection.execute(FIND_RESULT, (old,))
        return [Moved(plain, digest.hex(), url) for (plain,) in rows]

    def aim(self, docids: Sequence[str]) -> set[tuple[str, str]]:
        """Find the URLs that *docids* mean; return the results to be learned for ``targets``."""
        known = self._known([bytes.fromhex(docid) for docid in docids])
        for docid in docids:
            _, url = known.get(bytes.fromhex(docid), (0, ""))
            self.targets[docid] = (url, "") if url else ("", docid)
        return set(self.targets.values())

    def expect(self) -> None:
        """Note which ids are waiting for their URL; called when their results were learned."""
        ids = self.dictionaries.results
        rows = [
            (bytes.fromhex(docid), ids[result_key(*target)])
            for docid, target in sorted(self.targets.items())
            if not target[0]
        ]
        self.connection.executemany(SET_DIGEST, rows)

    def _known(self, digests: Sequence[bytes]) -> Mapping[bytes, tuple[int, str]]:
        return {
            digest: (result, url)
            for rows in look_up(self.connection, FIND_DIGESTS, digests)
            for digest, result, url in rows
        }
