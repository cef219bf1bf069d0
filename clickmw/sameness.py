"""Which events are the same one, reported again: a key that tells it, and nothing else."""

from __future__ import annotations

from hashlib import blake2b


class Sameness:
    """Make the 16 hex digits that repeats of one event share; *secret* is the install's."""

    def __init__(self, secret: str) -> None:
        # Ids of users are not kept, so nobody who has the database shall be able to try them out.
        key = blake2b(secret.encode(), person=b"clickmw.dedupe").digest()
        self._keyed = blake2b(key=key, digest_size=8)

    def __call__(self, *parts: str) -> str:
        """Return the key of what *parts* say; their order matters."""
        keyed = self._keyed.copy()
        # The text of a tuple: its parts cannot run into each other, whatever they are.
        keyed.update(repr(parts).encode())
        return keyed.hexdigest()
