"""Laws that hold for whatever is made up: some hundred examples each, of those that keep strangers out 5,000; 200,000 with ``make fuzz``."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import os
import random
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from clickmw.counting import decide_clicks
from clickmw.errors import BadToken
from clickmw.login import is_same_origin
from clickmw.tables import FORMULA_STARTS, write_csv, write_json
from clickmw.targets import Target, problem, resolve, without_user
from clickmw.tokens import LinkSigner, LinkTarget

HERE = Path(__file__).resolve().parent
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES") or 0)
SIGNER = LinkSigner("thirty-two characters or more are fine")
GENUINE = SIGNER.sign_link(
    LinkTarget("a", "AaH81ihAxg3zMoNQ", 3, "BWEB", "x:y", "https://a.example/?b=c#d")
)


def law(most: int = 400) -> Any:
    """Return the settings of a law; its examples are the same each time, but for ``make fuzz``."""
    return settings(
        max_examples=EXAMPLES or most,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


PIECES = ["http:", "https:", "/", "//", "\\", "@", ":", "?", "#", "..", "%2e", "evil.example", "www.example.org", "0x7f", "[::1]",
          "xn--", "ü", "ß", "。", "\t", " ", "'", '"', "<", "80", ":443", "\u200d", "א", "\ud800", "javascript:", ",2F.", "~", "!"]  # fmt: skip
NASTY = st.lists(st.sampled_from(PIECES), max_size=10).map("".join) | st.text(max_size=60)


def refuses(token: str) -> bool:
    try:
        SIGNER.read_link(token)
    except BadToken:
        return True
    return False


@law(5_000)
@given(text=NASTY, at=st.integers(0, len(GENUINE)), to=st.integers(0, len(GENUINE)))
def test_no_text_is_a_token_but_those_we_wrote(text: str, at: int, to: int) -> None:
    made_up = GENUINE[:at] + text + GENUINE[to:]
    if made_up == GENUINE:
        return
    for each in (made_up, text, GENUINE + text, text + GENUINE):
        if each != GENUINE:
            assert refuses(each)


@law()
@given(
    site=st.text("abc._-", max_size=9),
    position=st.none() | st.integers(1, 100_000),
    item=NASTY,
    location=NASTY.filter(str.isascii),
)
def test_a_token_says_what_was_signed_in_characters_that_stay(
    site: str, position: int | None, item: str, location: str
) -> None:
    target = LinkTarget(site, "AaH81ihAxg3zMoNQ", position, "BWEB", item, location)
    token = SIGNER.sign_link(target)
    assert SIGNER.read_link(token) == target
    assert not set(token) & set("/?#&%\"'<> \\\t\n")


@law(5_000)
@given(href=NASTY, base=st.none() | NASTY, host=st.sampled_from(["www.example.org", "a:81", ""]))
@example(href="https:/\t/evil.example", base=None, host="www.example.org")
def test_what_is_signed_is_printable_stable_and_no_other_host(
    href: str, base: str | None, host: str
) -> None:
    found = resolve(href, page_path="/a/b", page_host=host, base=base)
    if isinstance(found, Target):
        assert all("!" <= char <= "~" and char not in "\"'<>" for char in found.location)
        assert problem(found.location) is None
        assert found.own == found.location.startswith("/")
        assert not found.location.startswith(("//", "/\\"))
        assert resolve(found.location, page_path="/", page_host="") == Target(
            found.location, found.own
        )


@law()
@given(url=NASTY)
def test_an_address_without_its_user_is_the_same_address(url: str) -> None:
    kept = without_user(url)
    assert kept == url or len(kept) < len(url)
    assert kept.rpartition("@")[2] == url.rpartition("@")[2] or "@" not in kept


CELL = st.text(max_size=30) | st.sampled_from(sorted(FORMULA_STARTS)) | st.integers() | st.none()


@law()
@given(rows=st.lists(st.lists(CELL, min_size=2, max_size=2), max_size=5))
def test_a_table_reads_back_and_no_text_in_it_is_a_formula(rows: list[list[Any]]) -> None:
    text = write_csv(["a", "b"], rows).decode()
    read = list(csv.reader(io.StringIO(text, newline="")))[1:]
    assert len(read) == len(rows)
    for row, cells in zip(rows, read, strict=True):
        for value, cell in zip(row, cells, strict=True):
            if isinstance(value, str):
                assert (
                    cell in (value.encode("utf-8", "replace").decode(), "'" + value) or "?" in cell
                )
                assert cell[:1] not in FORMULA_STARTS
                assert not cell.startswith(("\t", "\r", "\n", "\0"))
            else:
                assert cell == ("" if value is None else str(value))


@law()
@given(
    value=st.recursive(
        st.text(max_size=20) | st.integers() | st.none(),
        lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=5), x, max_size=3),
        max_leaves=9,
    )
)
def test_json_reads_back_and_ends_no_script(value: Any) -> None:
    text = write_json(value)
    assert json.loads(text) == value
    assert b"<" not in text
    assert text.isascii()


@law()
@given(
    site=st.none() | st.sampled_from(["same-origin", "none", "same-site", "cross-site", "", "x"]),
    origin=st.none() | NASTY | st.just("http://www.example.org") | st.just("null"),
    host=NASTY | st.just("www.example.org"),
)
def test_only_a_page_of_this_host_sends_forms(
    site: str | None, origin: str | None, host: str
) -> None:
    environ = {"HTTP_HOST": host}
    if site is not None:
        environ["HTTP_SEC_FETCH_SITE"] = site
    if origin is not None:
        environ["HTTP_ORIGIN"] = origin
    if is_same_origin(environ) and site is None and origin is not None:
        assert host
        assert origin.lower().endswith(host.lower()) or host.lower() in origin.lower()
    if site is not None:
        assert is_same_origin(environ) == (site in ("same-origin", "none"))


@law()
@given(
    times=st.lists(st.integers(0, 10_000), max_size=20).map(sorted), window=st.integers(0, 2_000)
)
def test_what_counts_is_a_window_apart_and_all_else_lies_within_one(
    times: list[int], window: int
) -> None:
    decided = decide_clicks(times, window)
    counted = [at for at, counts in zip(times, decided, strict=True) if counts]
    assert all(later - earlier >= window for earlier, later in pairwise(counted))
    for at, counts in zip(times, decided, strict=True):
        before = [each for each in counted if each <= at and at - each < window]
        assert counts or before


# -- what is fuzzed ------------------------------------------------------------------------------


def harnesses() -> ModuleType:
    found = importlib.util.spec_from_file_location(
        "fuzz_harnesses", HERE.parent / "fuzzing" / "harnesses.py"
    )
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


FUZZED = harnesses()


@pytest.mark.parametrize("name", FUZZED.HARNESSES)
def test_nothing_that_is_fuzzed_breaks_at_once(name: str) -> None:
    """Each harness with what it begins with, cut and crossed: that it works, not that it finds much."""
    chance, run = random.Random(1), FUZZED.HARNESSES[name]
    seeds = FUZZED.SEEDS[name]
    for seed in seeds:
        run(seed)
    for _ in range(60):
        one, other = chance.choice(seeds), chance.choice(seeds)
        made = bytearray(
            one[: chance.randint(0, len(one))] + other[chance.randint(0, len(other)) :]
        )
        for _ in range(chance.randint(0, 3) if made else 0):
            made[chance.randrange(len(made))] = chance.randrange(256)
        run(bytes(made))
