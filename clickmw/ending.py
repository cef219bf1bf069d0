"""How a program ends that runs until somebody ends it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import click


@contextmanager
def until_interrupted(said: str = "stopped") -> Iterator[None]:
    """Let Ctrl+C end the block in peace, and SIGTERM likewise: whoever starts services sends that.

    *said* is what people are told then; nothing when it is empty.
    """
    with _terminated_like_interrupted():
        try:
            yield
        except KeyboardInterrupt:
            if said:
                click.echo(said, err=True)


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread hears signals
        return

    def end(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_IGN)  # it is ending: twice is no faster
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
