"""Token buckets: how many requests pass, in how much memory."""

from __future__ import annotations

import tracemalloc
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickmw.buckets import MOST_SENDERS, TokenBuckets

RATES = [(20.0, 200.0), (200.0, 2000.0), (3.0, 30.0), (0.7, 7.0), (1.0, 1.0)]


@pytest.mark.parametrize(("rate", "burst"), RATES)
@pytest.mark.parametrize("now_s", [0.0, 12_345.678, 31_536_000.1])
def test_a_burst_passes_whole_and_no_more(rate: float, burst: float, now_s: float) -> None:
    buckets = TokenBuckets(rate, burst)
    passed = [buckets.allows("a", now_s) for _ in range(int(burst) + 5)]
    assert passed == [True] * int(burst) + [False] * 5


@pytest.mark.parametrize(("rate", "burst"), RATES)
def test_a_steady_sender_within_the_rate_always_passes(rate: float, burst: float) -> None:
    buckets = TokenBuckets(rate, burst)
    assert all(buckets.allows("a", 1000 + step / rate) for step in range(3000))


def test_each_sender_has_a_bucket_of_its_own() -> None:
    buckets = TokenBuckets(1, 1)
    assert [buckets.allows(sender, 0.0) for sender in ("a", "b", ("a", ""), "a")] == [
        True,
        True,
        True,
        False,
    ]


@given(st.lists(st.floats(0, 3), max_size=60), st.integers(1, 10), st.integers(1, 10))
def test_a_bucket_is_empty_when_it_would_refuse(pauses: list[float], rate: int, burst: int) -> None:
    buckets = TokenBuckets(rate, burst)
    for now_s in accumulate(pauses, initial=100.0):
        is_empty = buckets.is_empty("a", now_s)
        assert is_empty is (not buckets.allows("a", now_s))


def test_who_was_refused_may_come_again_when_a_token_has_flowed_in() -> None:
    buckets = TokenBuckets(4, 2)
    assert [buckets.allows("a", 10.0) for _ in range(3)] == [True, True, False]
    assert not buckets.allows("a", 10.24)
    assert buckets.allows("a", 10.25)


@given(
    rate=st.integers(1, 50),
    burst=st.integers(1, 30),
    pauses=st.lists(st.one_of(st.just(0.0), st.floats(0, 3)), max_size=120),
)
def test_in_no_window_more_passes_than_burst_and_rate_allow(
    rate: int, burst: int, pauses: list[float]
) -> None:
    buckets = TokenBuckets(rate, burst)
    passed = [now_s for now_s in accumulate(pauses, initial=5000.0) if buckets.allows("a", now_s)]
    for first in range(len(passed)):
        for last in range(first, len(passed)):
            assert last - first + 1 <= burst + rate * (passed[last] - passed[first]) + 0.01


@given(st.lists(st.floats(0, 3), max_size=60), st.integers(1, 10), st.integers(1, 10))
def test_refused_requests_cost_no_token(pauses: list[float], rate: int, burst: int) -> None:
    patient, hasty = TokenBuckets(rate, burst), TokenBuckets(rate, burst)
    for now_s in accumulate(pauses, initial=0.0):
        while hasty.allows("a", now_s):
            assert patient.allows("a", now_s)
        assert not patient.allows("a", now_s)


@pytest.mark.parametrize(
    "senders", [100_000, pytest.param(1_000_000, marks=pytest.mark.long)], ids="{:,}".format
)
def test_any_number_of_senders_needs_no_more_memory_than_ten_thousand(senders: int) -> None:
    buckets = TokenBuckets(200, 2000)
    tracemalloc.start()
    try:
        for number in range(senders):
            buckets.allows(("key", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"), 1.0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(buckets._full_at) <= MOST_SENDERS
    assert peak < 5_000_000


def test_a_flood_of_senders_does_not_free_who_has_to_wait() -> None:
    buckets = TokenBuckets(1, 5)
    while buckets.allows("greedy", 1.0):
        pass
    for number in range(3 * MOST_SENDERS):
        buckets.allows(number, 1.0)
    assert not buckets.allows("greedy", 1.0)


def test_who_has_nothing_to_wait_for_is_forgotten_first() -> None:
    buckets = TokenBuckets(1, 1)
    for number in range(MOST_SENDERS):
        buckets.allows(number, 0.0)
    buckets.allows("later", 100.0)
    assert list(buckets._full_at) == ["later"]
