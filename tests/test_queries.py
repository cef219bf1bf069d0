"""Masking of personal data, and the form under which queries are counted."""

# ruff: noqa: RUF001  characters that look like others are the subject
from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickmw.queries import NORMAL_LIMIT, mask, normal_query


@pytest.mark.parametrize(
    "number",
    ["123-45-6789", "123456789", "123 45 6789", "123x45X6789", "123.45_6789", "123+45-6789", "12345-6789"],
)  # fmt: skip
def test_a_social_security_number_is_masked(number: str) -> None:
    assert mask(f"my {number} now") == "my REDACTED_SSN now"


@pytest.mark.parametrize(
    "address",
    [
        "jo@example.org",
        "Jo.O'Neil+tag@mail.example.co.uk",
        "jo%40example.org",
        "jörg@bücher.example",
        "a_b-c@x-y.example",
    ],
)
def test_an_e_mail_address_is_masked(address: str) -> None:
    assert mask(f"mail {address}, please") == "mail REDACTED_EMAIL, please"


@pytest.mark.parametrize(
    "number",
    ["202-555-0123", "2025550123", "(202) 555-0123", "(202)555.0123", "1-202-555-0123", "+1 202 555 0123",
     "1 (202) 555-0123", "202.555.0123", "202+555+0123", "12025550123"],
)  # fmt: skip
def test_a_phone_number_is_masked(number: str) -> None:
    assert mask(f"call {number} today") == "call REDACTED_PHONE today"


@pytest.mark.parametrize(
    "number",
    ["4111111111111111", "4111 1111 1111 1111", "4111-1111-1111-1111", "4111+1111+1111+1111", "5500005555555559",
     "2221000000000009", "6011000000000004", "378282246310005", "3782 822463 10005", "4222222222222"],
)  # fmt: skip
def test_a_card_number_is_masked(number: str) -> None:
    assert mask(f"pay {number} now") == "pay REDACTED_CC now"


@pytest.mark.parametrize(
    "text",
    ["form 1040", "react@18.2.0", "@handle", "a@b", "isbn 9780306406157", "2026-11-21", "10.0.0.1", "12345",
     "1234567", "q%40", "1234567890123456", "v1.2.3-45", "x123456789y"],
)  # fmt: skip
def test_ordinary_queries_stay_as_they_are(text: str) -> None:
    assert mask(text) == text


def test_everything_in_a_query_is_masked() -> None:
    text = "a@b.example c@d.example 123-45-6789 (202) 555-0123"
    assert mask(text) == "REDACTED_EMAIL REDACTED_EMAIL REDACTED_SSN REDACTED_PHONE"


@pytest.mark.parametrize(
    ("typed", "counted"),
    [
        ("  Tax \t Form\n", "tax form"),
        ("ＴＡＸ ﬁle", "tax file"),
        ("Straße", "strasse"),
        ("cafe\u0301", "café"),
        ("a\x00b\x9fc", "a b c"),
        ("a\ud800b", "a\ufffdb"),
        ("Jo@Example.org", "REDACTED_EMAIL"),
        ("１２３-４５-６７８９", "REDACTED_SSN"),
        ("123\t45\t6789", "REDACTED_SSN"),
        ("jo＠example.org", "REDACTED_EMAIL"),
        (" \n", ""),
        ("", ""),
    ],
)
def test_queries_are_counted_under_one_form(typed: str, counted: str) -> None:
    assert normal_query(typed) == counted


@given(st.text(st.characters(), max_size=3000))
def test_any_text_has_a_normal_form(typed: str) -> None:
    counted = normal_query(typed)
    assert len(counted) <= NORMAL_LIMIT
    assert counted == " ".join(counted.split())
    counted.encode()


@given(st.text("aB ßé1@.", max_size=40))
def test_the_normal_form_is_its_own_normal_form(typed: str) -> None:
    assert normal_query(normal_query(typed)) == normal_query(typed)


@pytest.mark.parametrize(
    "hostile",
    ["a" * 400_000, "a@" * 200_000, "a." * 200_000 + "@", "a@" + "b." * 200_000, "1" * 400_000,
     "1-" * 200_000, "(" * 400_000, "4111 " * 80_000, "%40" * 130_000, "a%40b." * 60_000, "@b.1" * 100_000],
    ids=lambda text: text[:6],
)  # fmt: skip
def test_masking_takes_time_in_proportion_to_the_text(hostile: str) -> None:
    began = time.process_time()
    mask(hostile)
    # 400 kB take about 0.1 s; a quadratic pattern would take minutes.
    assert time.process_time() - began < 5
