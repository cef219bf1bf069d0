"""Whose wrong passwords are looked at no longer, and whom they do not keep out."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from clickmw.guesses import Guesses

OWNER = {"REMOTE_ADDR": "192.0.2.1"}


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the time in a list: tests set it."""
    now = [1000.0]
    monkeypatch.setattr("clickmw.guesses.time.monotonic", lambda: now[0])
    return now


def guess(guesses: Guesses, times: int, **environ: str) -> int:
    """Guess wrong; return how many guesses were looked at."""
    looked_at = 0
    for _ in range(times):
        if not guesses.exhausted(environ):
            guesses.note_wrong(environ)
            looked_at += 1
    return looked_at


def flood(guesses: Guesses, **environ: str) -> int:
    """Guess from many addresses until no one is listened to; return how many were looked at."""
    return sum(
        guess(guesses, 1, REMOTE_ADDR=f"10.0.{number >> 8}.{number & 255}", **environ)
        for number in range(1000)
    )


def test_of_one_address_ten_are_looked_at_and_then_ten_a_minute(clock: list[float]) -> None:
    guesses = Guesses(0)
    assert guess(guesses, 30, **OWNER) == 10
    clock[0] += 60
    assert guess(guesses, 30, **OWNER) == 10


def test_a_strangers_guesses_do_not_keep_another_address_out() -> None:
    guesses = Guesses(0)
    guess(guesses, 1000, REMOTE_ADDR="203.0.113.66")
    assert not guesses.exhausted(OWNER)


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("203.0.113.66", "::ffff:203.0.113.66", True),
        ("203.0.113.66", "203.0.113.67", False),
    ],
    ids=["of one /64", "of two", "mapped", "neighbours"],
)
def test_addresses_of_one_household_are_one(first: str, second: str, same: bool) -> None:
    guesses = Guesses(0)
    guess(guesses, 20, REMOTE_ADDR=first)
    assert guesses.exhausted({"REMOTE_ADDR": second}) is same


def test_all_addresses_together_have_a_wider_limit(clock: list[float]) -> None:
    guesses = Guesses(0)
    assert flood(guesses) == 100
    assert guesses.exhausted(OWNER)
    clock[0] += 1
    assert not guesses.exhausted(OWNER)
    clock[0] += 59
    assert flood(guesses) == 100


def test_an_address_that_knew_the_password_is_not_kept_out_by_all_others() -> None:
    guesses = Guesses(0)
    guesses.note_right(OWNER)
    flood(guesses)
    assert not guesses.exhausted(OWNER)
    assert guess(guesses, 30, **OWNER) == 10


def test_wrong_passwords_of_one_who_knew_it_keep_nobody_else_out() -> None:
    guesses = Guesses(0)
    for number in range(100):
        known = {"REMOTE_ADDR": f"192.0.2.{number}"}
        guesses.note_right(known)
        guess(guesses, 10, **known)
    assert not guesses.exhausted({"REMOTE_ADDR": "203.0.113.66"})


def test_the_one_that_came_last_is_known_longest() -> None:
    guesses = Guesses(0)
    guesses.note_right(OWNER)
    for number in range(100 - 1):
        guesses.note_right({"REMOTE_ADDR": f"10.1.0.{number}"})
    guesses.note_right(OWNER)
    guesses.note_right({"REMOTE_ADDR": "10.2.0.1"})
    flood(guesses)
    assert not guesses.exhausted(OWNER)
    assert guesses.exhausted({"REMOTE_ADDR": "10.1.0.0"})


def test_behind_a_proxy_that_is_counted_the_visitors_address_is_taken() -> None:
    guesses = Guesses(1)
    proxy: dict[str, Any] = {"REMOTE_ADDR": "10.0.0.1"}
    guess(guesses, 20, **proxy, HTTP_X_FORWARDED_FOR="192.0.2.1, 203.0.113.66")
    assert guesses.exhausted({**proxy, "HTTP_X_FORWARDED_FOR": "203.0.113.66"})
    assert not guesses.exhausted({**proxy, "HTTP_X_FORWARDED_FOR": "192.0.2.1"})


def test_behind_a_proxy_that_is_not_counted_only_the_wider_limit_holds() -> None:
    guesses = Guesses(0)
    proxied = {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": "203.0.113.66"}
    guesses.note_right(proxied)
    assert guess(guesses, 1000, **proxied) == 100


@pytest.mark.parametrize("address", ["", "a socket"])
def test_a_server_that_names_no_address_is_limited_all_the_same(address: str) -> None:
    assert guess(Guesses(0), 1000, REMOTE_ADDR=address) == (10 if address else 100)


def test_guesses_from_anywhere_fill_no_memory() -> None:
    guesses = Guesses(0)
    tracemalloc.start()
    try:
        for number in range(12_000):
            environ = {"REMOTE_ADDR": f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"}
            guesses.note_right(environ)
            guesses.note_wrong(environ)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6_000_000  # that of ten thousand buckets and of the remembered prefixes
