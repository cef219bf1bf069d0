"""Hand-written answers that the demo's search page shows above its results."""

from __future__ import annotations

import re
from typing import NamedTuple

LIBRARY = "https://docs.python.org/3/library/"
HOW_TO = "https://docs.python.org/3/howto/"
TUTORIAL = "https://docs.python.org/3/tutorial/"
MOST_SHOWN = 2


class BestBet(NamedTuple):
    """One answer, shown when the query has one of its words."""

    words: frozenset[str]
    title: str
    url: str
    text: str


def _bet(words: str, title: str, url: str, text: str) -> BestBet:
    return BestBet(frozenset(words.split()), title, url, text)


BEST_BETS = (
    _bet(
        "json dumps loads",
        "json — JSON encoder and decoder",
        f"{LIBRARY}json.html",
        "The guide with examples: pretty printing, own encoders, the command line.",
    ),
    _bet(
        "date datetime time timezone calendar strftime",
        "datetime — Basic date and time types",
        f"{LIBRARY}datetime.html",
        "Dates, times, differences, time zones and all format codes.",
    ),
    _bet(
        "file files path pathlib directory folder",
        "pathlib — Object-oriented filesystem paths",
        f"{LIBRARY}pathlib.html",
        "Paths as objects, and what each os.path function became.",
    ),
    _bet(
        "file files open read write",
        "Reading and writing files",
        f"{TUTORIAL}inputoutput.html#reading-and-writing-files",
        "The chapter of the Python tutorial.",
    ),
    _bet(
        "http url urllib request requests download",
        "How to fetch internet resources with urllib",
        f"{HOW_TO}urllib2.html",
        "Requests, headers, errors and proxies, step by step.",
    ),
    _bet(
        "regex regexp re regular pattern",
        "Regular expression how-to",
        f"{HOW_TO}regex.html",
        "A gentle introduction to the re module.",
    ),
    _bet(
        "regex regexp re match",
        "re — Regular expression operations",
        f"{LIBRARY}re.html",
        "Every pattern, flag and function.",
    ),
    _bet(
        "thread threads threading concurrent pool",
        "concurrent.futures — Launching parallel tasks",
        f"{LIBRARY}concurrent.futures.html",
        "Pools of threads and processes with one small interface.",
    ),
    _bet(
        "async asyncio await coroutine",
        "Coroutines and tasks",
        f"{LIBRARY}asyncio-task.html",
        "async and await, groups of tasks, timeouts.",
    ),
    _bet(
        "log logging logger",
        "Logging how-to",
        f"{HOW_TO}logging.html",
        "When to log what, levels, handlers and configuration.",
    ),
    _bet(
        "sort sorted sorting",
        "Sorting techniques",
        f"{HOW_TO}sorting.html",
        "Key functions, stability, descending order.",
    ),
    _bet(
        "csv excel spreadsheet",
        "csv — CSV file reading and writing",
        f"{LIBRARY}csv.html",
        "Readers, writers, dialects, with examples.",
    ),
    _bet(
        "argparse argument arguments argv",
        "Argparse tutorial",
        f"{HOW_TO}argparse.html",
        "A command line with options, from nothing.",
    ),
    _bet(
        "unittest test tests testing mock",
        "unittest — Unit testing framework",
        f"{LIBRARY}unittest.html",
        "Test cases, assertions, discovery.",
    ),
)


def best_bets(query: str) -> list[BestBet]:
    """Return at most two best bets for the query, in the order of the list."""
    words = set(re.findall(r"\w+", query.casefold()))
    return [bet for bet in BEST_BETS if bet.words & words][:MOST_SHOWN]
