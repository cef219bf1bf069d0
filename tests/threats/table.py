"""The table of threats in docs/reference/security.md, made of the tests themselves.

``python tests/threats/table.py`` writes it anew; a test compares.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
PAGE = HERE.parents[1] / "docs" / "reference" / "security.md"
BEGIN, END = "<!-- the tests write this table -->\n", "<!-- the table ends -->\n"
#: All that the list has, with what they are about.
THREATS = {
    "T-01": "A made-up token leads away",
    "T-02": "A changed token is accepted",
    "T-03": "Something else of ours is taken for a token",
    "T-04": "One link is followed a thousand times",
    "T-05": "A genuine link in a mail of somebody else's",
    "T-06": "A secret leaks",
    "T-07": "A new secret breaks old pages",
    "T-08": "Targets that are no web pages",
    "T-09": "Targets that two programs read differently",
    "T-10": "International hosts that look like others",
    "T-10b": "Targets in the visitor's own network",
    "T-11": "A target writes a header",
    "T-12": "A cache keeps an answer, or is poisoned",
    "T-13": "Our own addresses redirect away",
    "T-14": "A link or the Referer tells the query",
    "T-15": "A session is fixed or used twice",
    "T-16": "Prefetches count, or swallow the click",
    "T-17": "A script's navigation is taken for a click",
    "T-20": "A stranger's link on a page is signed",
    "T-21": "Markup through marker values",
    "T-22": "A length that is not the body's",
    "T-23": "Answers are touched that must not be",
    "T-24": "Validators of bytes that were not sent",
    "T-25": "A shared page counts one visitor for all",
    "T-26": "A page that takes for ever",
    "T-27": "A bug of ours breaks the page",
    "T-28": "The page's own policy is broken",
    "T-30": "Forged clicks",
    "T-31": "Floods",
    "T-32": "Bodies without an end",
    "T-33": "Bodies that unpack to gigabytes",
    "T-34": "Deep and odd JSON",
    "T-35": "Values that a store mangles",
    "T-36": "Two values of one name",
    "T-37": "Bytes that are no text",
    "T-38": "Pages of other sites report, or read",
    "T-39": "A made-up forwarded address",
    "T-40": "A key in an address",
    "T-41": "An event by GET",
    "T-42": "An attacker clicks first",
    "T-43": "Any number of distinct words",
    "T-44": "Robots counted as people",
    "T-50": "Markup in stored text",
    "T-51": "Formulas in tables",
    "T-52": "SQL in what is asked",
    "T-53": "A report of everything",
    "T-54": "A report open by mistake",
    "T-55": "Another page does something for the owner",
    "T-56": "The report in a frame",
    "T-57": "A file taken for another kind",
    "T-58": "The time it takes tells a key",
    "T-59": "Guessing passwords",
    "T-60": "A stolen key",
    "T-61": "One site reads another",
    "T-62": "The report shows visitors",
    "T-63": "A host name bent to this server (MCP)",
    "T-64": "Queries that give orders to an agent",
    "T-65": "Large or many messages (MCP)",
    "T-66": "Error pages repeat or tell",
    "T-67": "Text writes lines of the log",
    "T-68": "Personal data in queries",
    "T-69": "Who somebody was",
    "T-70": "Erased, and still there",
    "T-71": "Slow senders, TLS, parsing of HTTP",
    "T-72": "What we depend on",
    "T-73": "Files that are imported",
    "T-74": "Rights of files",
}


class Proof(NamedTuple):
    """A test: which threat it is about, and what it says of it."""

    threat: str
    test: str
    asvs: tuple[str, ...]
    result: str


def proofs() -> Iterator[Proof]:
    """Yield what the tests of this folder are marked with."""
    for path in sorted(HERE.glob("test_*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef):
                yield from _marked(node)


def _marked(node: ast.FunctionDef) -> Iterator[Proof]:
    for mark in node.decorator_list:
        if isinstance(mark, ast.Call) and getattr(mark.func, "id", "") == "threat":
            told = {each.arg: ast.literal_eval(each.value) for each in mark.keywords}
            named = ast.literal_eval(mark.args[0])
            result = told.get("result", "held")
            yield Proof(named, node.name, tuple(told["asvs"].split(", ")), result)


def table() -> str:
    """Return the table as Markdown."""
    rows = ["| Id | Threat | ASVS 5.0 | Test | Result |", "|---|---|---|---|---|"]
    found = list(proofs())
    for threat, about in THREATS.items():
        own = [each for each in found if each.threat == threat]
        asvs = sorted({name for each in own for name in each.asvs}, key=_by_number)
        tests = "<br>".join(f"`{each.test.removeprefix('test_')}`" for each in own)
        result = "; ".join(dict.fromkeys(each.result for each in own))
        rows.append(f"| {threat} | {about} | {', '.join(asvs)} | {tests} | {result} |")
    return "\n".join(rows) + "\n"


def _by_number(requirement: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", requirement)]


def with_table(page: str) -> str:
    """Return *page* with the table of today."""
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + "\n" + table() + "\n" + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text("utf-8")), "utf-8")
