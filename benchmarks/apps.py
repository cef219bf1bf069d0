"""The applications that the server benchmarks run under gunicorn."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from clickmw import ClickMW

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def constant_redirect() -> Application:
    """Return an application that answers 302 and does nothing else: the server's own cost."""
    headers = [("Location", "https://www.example.org/"), ("Content-Length", "0")]

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("302 Found", headers)
        return [b""]

    return app


def clicks() -> ClickMW:
    """Return clickmw around the constant application, with the store that the environment names."""
    folder, secret = Path(os.environ["BENCHMARK_FOLDER"]), os.environ["BENCHMARK_SECRET"]
    store = f"sqlite:///{folder}/clicks.db"
    return ClickMW(constant_redirect(), secret=secret, store=store, redirect_rate=None)
