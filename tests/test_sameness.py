"""The key that repeats of one event share."""

from __future__ import annotations

from clickmw.sameness import Sameness

SECRET = "s" * 32


def test_the_same_parts_have_the_same_key_in_every_process() -> None:
    assert Sameness(SECRET)("shop", "u1", "ad") == Sameness(SECRET)("shop", "u1", "ad")
    assert len(bytes.fromhex(Sameness(SECRET)("shop"))) == 8


def test_parts_do_not_run_into_each_other_and_have_an_order() -> None:
    key = Sameness(SECRET)
    others = (("ab", "c"), ("a", "bc"), ("abc",), ("c", "ab"), ("ab", "c", ""), ("a', 'b", "c"))
    assert len({key(*parts) for parts in others}) == len(others)


def test_without_the_secret_nobody_can_try_out_who_it_was() -> None:
    assert Sameness(SECRET)("shop", "u1") != Sameness("t" * 32)("shop", "u1")
