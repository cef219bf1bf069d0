"""Tables for spreadsheets and for programs: nothing in them is run, and everything comes back."""

from __future__ import annotations

import csv
import io
import json
from datetime import date, datetime
from typing import Any

import pytest

from clickmw.rates import rate
from clickmw.tables import FORMULA_STARTS, is_measure, plain, safe_text, write_csv, write_json


def cells(*row: Any) -> list[str]:
    """Return *row* as a spreadsheet reads it."""
    content = write_csv(["a"] * len(row), [row]).decode()
    return list(csv.reader(io.StringIO(content, newline="")))[1]


@pytest.mark.parametrize("start", [*sorted(FORMULA_STARTS), "\t", "\r", "\n", "\0"], ids=ascii)
def test_a_text_that_a_spreadsheet_could_run_gets_an_apostrophe(start: str) -> None:
    assert safe_text(f"{start}1") == f"'{start}1"
    assert safe_text(start) == f"'{start}"


@pytest.mark.parametrize("before", ['"', "'", " ", '" \'"', "\u0020\t", "'\n", ' "\0'], ids=ascii)
def test_what_a_spreadsheet_skips_does_not_hide_a_formula(before: str) -> None:
    assert safe_text(f"{before}=1") == f"'{before}=1"


@pytest.mark.parametrize("text", ["", "a", "a=1", "1-2", "'a", '"a"', " a", "a\t=1", "ab+c", "√2"])
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert safe_text(text) == text


def test_there_are_eight_starts_of_a_formula() -> None:
    assert len(FORMULA_STARTS) == 8
    assert {"=", "+", "-", "@"} <= FORMULA_STARTS


def test_a_table_is_rfc_4180() -> None:
    content = write_csv(["a", 'b"c'], [["x,y", 'say "hi"'], ["line\nbreak", ""]])
    assert content == b'a,"b""c"\r\n"x,y","say ""hi"""\r\n"line\nbreak",\r\n'


def test_numbers_stay_numbers_and_nothing_is_an_empty_field() -> None:
    assert cells(-1, -0.5, True, False, None, date(2026, 1, 31)) == [
        "-1",
        "-0.5",
        "1",
        "0",
        "",
        "2026-01-31",
    ]
    assert cells("-1", "=1") == ["'-1", "'=1"]


def test_half_a_character_does_not_break_a_file() -> None:
    assert write_csv(["a"], [["\ud800"]]) == b"a\r\n?\r\n"
    assert json.loads(write_json("\ud800")) == "\ud800"


def test_json_ends_no_script_and_is_ascii() -> None:
    content = write_json({"a": "</script><b>ü"})
    assert content == b'{\n "a": "\\u003c/script>\\u003cb>\\u00fc"\n}\n'


def test_json_has_no_nan() -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(float("nan"))


def test_a_measure_becomes_an_object() -> None:
    found = rate(1, 4)
    assert is_measure(found)
    assert list(plain(found)) == ["value", "low", "high", "numerator", "denominator"]
    assert plain(found)["value"] == 0.25
    assert not is_measure((1, 2))
    assert not is_measure(found._asdict())


def test_what_json_does_not_know_is_made_plain() -> None:
    assert plain({1: (date(2026, 1, 31), [None, "a"])}) == {"1": ["2026-01-31", [None, "a"]]}
    assert plain(datetime(2026, 1, 31, 12, 0)) == "2026-01-31T12:00:00"
    assert cells(datetime(2026, 1, 31)) == ["2026-01-31T00:00:00"]
