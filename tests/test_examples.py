"""The examples, each run as its own words say, searched and clicked as a visitor would."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
FILES = sorted(path for path in EXAMPLES.iterdir() if path.suffix == ".py")
VISITOR = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Sec-Fetch-Site": "same-origin",
}
MOST_LINES = 60


class Running:
    """An example as a process of its own."""

    def __init__(self, folder: Path, *command: str, port: int) -> None:
        self.folder = folder
        self.port = port
        environ = {**os.environ, "SITE_FOLDER": str(folder), "PORT": str(port)}
        with open(folder / "log.txt", "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *command], cwd=folder, env=environ, stdout=log, stderr=log
            )

    def get(self, path: str, patience_s: float = 0.0) -> tuple[int, str]:
        """Return status and body; wait that long for a server that is still starting."""
        until = time.monotonic() + patience_s
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
            try:
                connection.request("GET", path, headers=VISITOR)
                answer = connection.getresponse()
                return answer.status, answer.read().decode()
            except ConnectionRefusedError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)
            finally:
                connection.close()

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(60)

    def rows(self, question: str, patience_s: float = 60.0) -> list[Any]:
        """Return what *question* finds, as soon as there is something: events need a moment."""
        until = time.monotonic() + patience_s
        found: list[Any] = []
        while not found and time.monotonic() < until:
            time.sleep(0.1)
            with suppress(sqlite3.OperationalError), closing(self._database()) as database:
                found = database.execute(question).fetchall()
        return found

    def _database(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self.folder / 'clicks.db'}?mode=ro", uri=True)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Start an example; ``{port}`` in its command is a free one."""
    started: list[Running] = []

    def start(*command: str, port: int = 0) -> Running:
        port = port or free_port()
        words = [word.format(port=port) for word in command]
        started.append(Running(tmp_path, *words, port=port))
        return started[-1]

    yield start
    for each in started:
        each.end()


COMMANDS = {
    "flask_site.py": ["-m", "flask", "--app", "{file}", "run", "--port", "{{port}}"],
    "plain_wsgi.py": ["{file}"],
    "json_results.py": ["{file}"],
    "django_site.py": ["{file}", "runserver", "--noreload", "{{port}}"],
}


def command_of(name: str) -> list[str]:
    return [word.format(file=EXAMPLES / name) for word in COMMANDS[name]]


def test_every_example_is_run_here() -> None:
    assert [path.name for path in FILES] == sorted(COMMANDS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_an_example_is_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("name", ["flask_site.py", "plain_wsgi.py", "django_site.py"])
def test_a_search_and_a_click_become_rows(name: str, run: Callable[..., Running]) -> None:
    site = run(*command_of(name))
    page = site.get("/search?q=form", patience_s=60.0)[1]
    links = re.findall(r'href="(/_clicks/r/[^"]+)"', page)
    status, _ = site.get(links[0])

    assert (len(links), status) == (2, 302)
    assert site.rows("SELECT query, url, position, module_code, counted FROM clicks") == [
        ("form", "/pages/1", 1, "WEB", 1)
    ]
    assert site.rows("SELECT query, total_hits FROM searches") == [("form", 2)]


def test_a_single_page_app_counts_its_searches_and_clicks(
    run: Callable[..., Running], profile_of: Callable[..., Any]
) -> None:
    site = run(*command_of("json_results.py"))
    assert json.loads(site.get("/api/search?q=map", patience_s=60.0)[1])[0]["title"] == "Map"
    tab = profile_of().new_page()
    tab.goto(f"http://app.example:{site.port}/")
    tab.fill("#q", "form")
    tab.press("#q", "Enter")
    tab.wait_for_selector("a[data-click-token]")
    assert tab.get_attribute("a", "href") == "/pages/1"
    tab.click("a")
    tab.wait_for_url("**/pages/1")

    found = site.rows("SELECT query, url, position, title, trust, source FROM clicks")
    assert found == [("form", "/pages/1", 1, "Tax form", "signed", "beacon")]


def test_a_site_of_plain_files_counts_too(
    run: Callable[..., Running], profile_of: Callable[..., Any], tmp_path: Path
) -> None:
    files, collector = free_port(), free_port()
    folder = tmp_path / "files"
    folder.mkdir()
    page = (EXAMPLES / "static_site" / "index.html").read_text(encoding="utf-8")
    (folder / "index.html").write_text(page.replace(":8766", f":{collector}"), encoding="utf-8")
    settings = (EXAMPLES / "static_site" / "clickmw.toml").read_text(encoding="utf-8")
    (tmp_path / "clickmw.toml").write_text(settings.replace(":8000", f":{files}"))
    pages = run(
        "-m", "http.server", "--bind", "127.0.0.1", "--directory", str(folder), "{port}", port=files
    )
    serve = ["-m", "clickmw", "--config", "clickmw.toml", "serve", "--port", "{port}"]
    server = run(*serve, port=collector)
    assert server.get("/_clicks/health", patience_s=60.0)[0] == 200
    assert pages.get("/", patience_s=60.0)[0] == 200

    tab = profile_of().new_page()
    tab.goto(f"http://127.0.0.1:{files}/")
    tab.fill("#q", "form")
    tab.press("#q", "Enter")
    tab.click("a >> nth=0")
    tab.wait_for_url("**/pages/1.html")

    assert server.rows("SELECT query, total_hits, counted FROM searches") == [("form", 2, 1)]
    found = server.rows("SELECT query, position, module_code, trust, counted FROM clicks")
    assert found == [("form", 1, "WEB", "anonymous", 1)]
