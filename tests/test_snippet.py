"""The snippet in a real browser: headless Chromium against a real server."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clickmw import ClickMW
from clickmw.assets import read_asset
from clickmw.demo import running

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
PEOPLE = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36"
PAGE = (
    b"<!doctype html><title>t</title><body>"
    b"<ol data-click-module=BWEB data-click-query='tax form' data-click-total=2>"
    b"<li><a id=first data-click href='/doc/1'>one</a>"
    b"<li><a data-click href='https://example.org/2'>two</a></ol><a href='/other'>other</a></body>"
)
CSP = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; require-trusted-types-for 'script'"
)


@pytest.fixture(scope="module", autouse=True)
def _a_browser() -> None:
    if CHROMIUM is None:
        assert not os.environ.get("CI"), "CI must have Chromium: .ci/run installs it"
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")


class Page:
    """A results page behind clickmw; ``dom`` is what the browser made of it."""

    def __init__(self, folder: Path, cache_control: str) -> None:
        self.folder = folder
        self.cache_control = cache_control
        self.app = ClickMW(self.host, secret="s" * 40, store=f"sqlite:///{folder / 'clicks.db'}")

    def host(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        headers = [("Content-Type", "text/html"), ("Content-Length", str(len(PAGE)))]
        headers += [("Cache-Control", self.cache_control), ("Content-Security-Policy", CSP)]
        start_response("200 OK", headers)
        return [PAGE]

    def open(self, profile: Path, path: str = "/search") -> str:
        with running(self.app, 0) as address:
            command = [
                str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
                "--no-first-run", "--disable-background-networking", "--disable-component-update",
                "--disable-sync", f"--user-data-dir={profile}", f"--user-agent={PEOPLE}",
                "--virtual-time-budget=3000", "--enable-logging=stderr", "--dump-dom", address + path,
            ]  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
            assert "Content Security Policy" not in done.stderr
            return done.stdout

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        self.app.door.routes.open_reader().close()
        with sqlite3.connect(self.folder / "clicks.db") as connection:
            return connection.execute(sql).fetchall()


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Page]:
    page = Page(tmp_path, "public, max-age=60")
    yield page
    page.app.door.worker.close()


@pytest.fixture
def private(tmp_path: Path) -> Iterator[Page]:
    page = Page(tmp_path, "private, no-store")
    yield page
    page.app.door.worker.close()


def test_a_shared_page_in_a_browser_is_one_counted_search(shared: Page, tmp_path: Path) -> None:
    shared.open(tmp_path / "profile")
    assert shared.rows("SELECT query, source FROM searches WHERE counted") == [
        ("tax form", "beacon")
    ]


def test_the_links_of_a_shared_page_carry_the_view(shared: Page, tmp_path: Path) -> None:
    dom = shared.open(tmp_path / "profile")
    view = shared.rows("SELECT query_id FROM searches WHERE counted")[0][0]
    assert dom.count("?v=") == 2
    assert view is not None


def test_other_links_stay_as_they_are(shared: Page, tmp_path: Path) -> None:
    assert 'href="/other"' in shared.open(tmp_path / "profile")


def test_a_private_page_reports_nothing_and_stays_as_it_was(private: Page, tmp_path: Path) -> None:
    dom = private.open(tmp_path / "profile")
    assert "?v=" not in dom
    assert private.rows("SELECT source, counted FROM searches") == [("page", 1)]


def test_the_snippet_is_small() -> None:
    assert len(read_asset("clickmw.js")) < 3_000
