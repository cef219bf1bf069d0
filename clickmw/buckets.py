"""Token buckets: how many requests a sender may make, in bounded memory and without a timer."""

from __future__ import annotations

from collections.abc import Hashable

MOST_SENDERS = 10_000
#: Part of a token that the rounding of a burst's many additions may seem to take too much.
ROUNDING = 0.001


class TokenBuckets:
    """A bucket for each sender: *rate* tokens a second flow in, at most *burst* are kept.

    A full bucket is not remembered: only the time at which each would be full again is kept (the
    "virtual scheduling" form of the generic cell rate algorithm, ITU-T I.371). Of more than
    10,000 senders at once those are forgotten that have the least to wait for.
    """

    def __init__(self, rate: float, burst: float) -> None:
        self._step_s = 1 / rate
        self._patience_s = (burst + ROUNDING) / rate
        self._full_at: dict[Hashable, float] = {}

    def allows(self, sender: Hashable, now_s: float) -> bool:
        """Take one token; False when the bucket is empty. ``now_s``: a clock that never goes back."""
        full_at = self._full_after(sender, now_s)
        if full_at - now_s > self._patience_s:
            return False
        self._full_at[sender] = full_at
        if len(self._full_at) > MOST_SENDERS:
            self._forget(now_s)
        return True

    def is_empty(self, sender: Hashable, now_s: float) -> bool:
        """Tell whether :meth:`allows` would refuse; nothing is taken."""
        return self._full_after(sender, now_s) - now_s > self._patience_s

    def _full_after(self, sender: Hashable, now_s: float) -> float:
        return max(self._full_at.get(sender, now_s), now_s) + self._step_s

    def _forget(self, now_s: float) -> None:
        self._full_at = {key: at for key, at in list(self._full_at.items()) if at > now_s}
        if len(self._full_at) > MOST_SENDERS // 2:
            busiest = sorted(self._full_at.items(), key=lambda item: item[1])[-MOST_SENDERS // 2 :]
            self._full_at = dict(busiest)
