"""What is counted and never stored, in words: visitors who opted out, what was refused, what was lost."""

from __future__ import annotations

from collections.abc import Mapping

from clickmw.panels import Column, Look, Panel, Row

#: Name in the ledger, or how it begins → what it is.
KINDS: Mapping[str, str] = {
    "opted_out": "opted out",
    "prefetch": "loaded ahead",
    "rejected.": "refused",
    "dropped.": "lost",
}
#: Name in the ledger → a sentence. What click APIs refuse is put together of the next two.
WORDS: Mapping[str, str] = {
    "opted_out": "The visitor asks not to be counted: by the browser's signal, or by the cookie.",
    "prefetch": "A browser or a mail program asked for a link before anybody followed it.",
    "rejected.bad_link": "The link was altered, made up, or signed with a secret that is not known any more.",
    "rejected.naming_page": (
        "An old link was followed from elsewhere, or leads to a host that is no target any more: a "
        "page named the host instead."
    ),
    "rejected.unknown_site": "A link or a page names a site that the settings do not have.",
    "rejected.unknown_host": "The page's host belongs to no site: add it to the hosts of one.",
    "rejected.foreign_beacon": (
        "A page of another site sent reports: add its origin to allowed_origins if it is yours."
    ),
    "rejected.bad_beacon": "A report of the browser was no event that clickmw knows.",
    "rejected.unreadable_encoding": (
        "A page was compressed with br or zstd, which cannot be read: let gzip or nothing reach clickmw."
    ),
    "rejected.rate": "A sender of a click API came more often than redirect_rate allows.",
    "rejected.failure": "clickmw failed at a request; the log says how.",
    "dropped.rate": "One address came more often than redirect_rate allows; visitors were led on.",
    "dropped.journal_full": "The journal was full: nobody moved it to the store.",
    "dropped.disk_full": "The disk was full.",
    "dropped.not_writable": "The journal folder could not be written.",
    "dropped.io_error": "The disk failed.",
    "dropped.no_descriptors": "The process had no file descriptor left.",
    "dropped.torn": "The end of a journal file was damaged, by a power cut or by other hands.",
    "dropped.unwritable": "The event held something that no journal can keep.",
    "dropped.unstorable": "The store refused the event; it lies in unstorable.jsonl beside the journal.",
    "dropped.same_query_id": "A second search came with the id of one that is stored.",
    "dropped.failure": "clickmw failed at an event; the log says how. The visitor was led on.",
    "unsigned.base": "The page's base element names another host, where links of ours would lead.",
    "unsigned.empty": "The link has no address.",
    "unsigned.fragment": "The link leads to a place on its own page.",
    "unsigned.scheme": "The link is neither http nor https.",
    "unsigned.host": "The link's host is not a target host, or is malformed.",
    "unsigned.private": "The link leads to a private address.",
    "unsigned.path": "The link's path could be read in two ways.",
    "unsigned.port": "The link's port is no port.",
    "unsigned.userinfo": "The link holds a user name or a password.",
    "unsigned.length": "The link is too long to be signed.",
    "unsigned.control": "The link holds control characters.",
    "unsigned.space": "The link begins or ends with a space.",
    "unsigned.backslash": "The link holds a backslash.",
    "unsigned.module": "The template gave a module code that is none.",
    "unsigned.position": "The template gave a position that is none.",
    "unsigned.ad": "The template gave details of an ad that cannot be signed.",
    "unsigned.fault": "clickmw failed at a page and left it as it was; the log says how.",
}
#: How the reasons of a click API begin → what it is called.
PROTOCOLS: Mapping[str, str] = {
    "addsearch": "AddSearch",
    "hienergy": "hienergy",
    "mcp": "MCP",
    "searchgov": "Search.gov",
    "searchstax": "SearchStax",
    "vtexads": "VTEX Ads",
}
#: The rest of such a reason → a clause.
REFUSALS: Mapping[str, str] = {
    "ad": "no such ad is signed here",
    "bad_request": "what was asked for does not exist",
    "body": "the body cannot be read",
    "encoding": "the body is in an encoding that is not taken",
    "forbidden": "the key may only write",
    "host": "the host belongs to no site",
    "invalid": "what was sent is not as the API says",
    "key": "the key is missing or wrong",
    "method": "this address takes another method",
    "origin": "a page of this origin may not ask",
    "scope": "the key may only write",
    "unauthorized": "the key is missing or wrong",
    "unreadable": "the body cannot be read",
}


def words_of(name: str) -> str:
    """Return what the tally *name* of the ledger means; "" for one that nobody knows."""
    if name in WORDS:
        return WORDS[name]
    protocol, _, reason = name.removeprefix("rejected.").partition("_")
    if protocol in PROTOCOLS and reason in REFUSALS:
        return f"{PROTOCOLS[protocol]}: {REFUSALS[reason]}."
    return ""


def _ledger(look: Look) -> list[Row]:
    counts = look.reader.ledger()
    rows = [_row(name, count) for name, count in counts.items() if count and _kind_of(name)]
    return sorted(rows, key=lambda row: (-row["events"], row["what"], row["reason"]))


def _row(name: str, count: int) -> Row:
    return {
        "what": _kind_of(name),
        "reason": name.partition(".")[2],
        "meaning": words_of(name),
        "events": count,
    }


def _kind_of(name: str) -> str:
    head, dot, _ = name.partition(".")
    return KINDS.get(head + dot, "")


LEDGER = Panel(
    name="ledger",
    title="Never stored",
    about=(
        "What was only counted, by reason, since the database was created: no period and no filter "
        "change it."
    ),
    columns=(
        Column("what", "What became of it", "text"),
        Column("reason", "Reason", "text"),
        Column("meaning", "In words", "text", minor=True),
        Column("events", "Events", "count"),
    ),
    rows=_ledger,
    limited=False,
    only_by=(),
    nothing="Nothing was refused or lost, and nobody opted out.",
)
