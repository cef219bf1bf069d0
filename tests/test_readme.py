"""What the README tells people to paste is run as it stands, around a small host application."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from webtest import TestApp

CHECKOUT = Path(__file__).resolve().parent.parent
README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0",
    "Accept": "text/html",
    "Sec-Fetch-Site": "same-origin",
}


def example(heading: str, language: str) -> str:
    """Return the first block of *language* below *heading*."""
    below = README.partition(f"\n## {heading}\n")[2]
    found = re.search(rf"^```{language}\n(.*?)^```", below, flags=re.M | re.S)
    assert found, heading
    return found[1]


RESULTS = example("Mark your results", "html")


def results_page(_environ: dict[str, Any], start_response: Any) -> list[bytes]:
    page = f"<!doctype html><title>Results</title><body>{RESULTS}</body>".encode()
    headers = [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(page)))]
    start_response("200 OK", headers)
    return [page]


@pytest.fixture
def wrapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The application of the README's block, in a working folder of its own."""
    monkeypatch.chdir(tmp_path)
    mysite = ModuleType("mysite")
    mysite.application = results_page  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mysite", mysite)
    names: dict[str, Any] = {}
    exec(example("Any WSGI application", "python"), names)
    yield names["application"]
    names["application"].door.worker.close()


@pytest.fixture
def visitor(wrapped: Any) -> TestApp:
    return TestApp(wrapped, extra_environ={"REMOTE_ADDR": "203.0.113.7"})


def follow(visitor: TestApp) -> list[str]:
    """Open the results, follow every link; return where they led."""
    page = visitor.get("/search?q=tax+form", headers=BROWSER)
    links = re.findall(r'href="([^"]+)"', page.text)
    return [visitor.get(link, headers=BROWSER, status=302).location for link in links]


def overview(visitor: TestApp) -> dict[str, Any]:
    visitor.authorization = ("Basic", ("admin", "a password of yours"))
    answer: dict[str, Any] = visitor.get("/_clicks/report/overview.json").json
    return answer


def test_the_links_of_the_example_lead_where_they_led_before(visitor: TestApp) -> None:
    expected = re.findall(r'href="([^"]+)"', RESULTS)
    assert [place.removeprefix("http://localhost:80") for place in follow(visitor)] == expected


def test_the_report_knows_the_search_of_the_example(visitor: TestApp) -> None:
    follow(visitor)
    row = overview(visitor)["queries"][0]
    assert (row["query"], row["searches"], row["clicks"]) == ("tax form", 1, 2)


def test_the_positions_of_the_example_are_those_that_the_readme_names(visitor: TestApp) -> None:
    follow(visitor)
    live = overview(visitor)["live"]
    clicks = [row["position"] for row in live if row["kind"] == "click"]
    assert sorted(clicks) == [11, 40]
    assert "position 11" in README
    assert "position 40" in README


def test_the_data_is_where_the_readme_says(visitor: TestApp, tmp_path: Path) -> None:
    follow(visitor)
    overview(visitor)
    assert (tmp_path / "clicks.db").is_file()
    assert (tmp_path / "clicks.db.journal").is_dir()


def test_the_report_is_closed_without_the_password(visitor: TestApp) -> None:
    assert visitor.get("/_clicks/report/", status=403).status_int == 403


def test_health_is_ok_once_an_event_was_kept(visitor: TestApp) -> None:
    follow(visitor)
    overview(visitor)
    assert visitor.get("/_clicks/health").json["status"] == "ok"


def test_two_lines_are_enough_for_flask(tmp_path: Path) -> None:
    flask = pytest.importorskip("flask")
    app = flask.Flask("mysite", instance_path=str(tmp_path))
    app.config["SECRET_KEY"] = "a key of the framework, long enough for us"
    app.add_url_rule("/search", view_func=lambda: RESULTS)
    names: dict[str, Any] = {"app": app}
    block = example("Flask", "python")
    assert len([line for line in block.splitlines() if line]) == 2
    exec(block, names)
    page = app.test_client().get("/search").text
    names["clicks"].door.worker.close()
    assert page.count('href="/_clicks/r/') == 2
    assert (tmp_path / "clicks.db.journal").is_dir()


def test_the_settings_that_the_readme_names_have_the_values_that_it_names(wrapped: Any) -> None:
    assert wrapped.settings.keep_days == 395
    assert f"{wrapped.settings.keep_days} days (`keep_days`)" in README
    assert wrapped.settings.dedupe_window_s == 30 * 60
    assert wrapped.settings.prefix == "/_clicks"


@pytest.mark.parametrize("target", ["demo", "test"])
def test_the_commands_of_the_readme_exist(target: str) -> None:
    assert f"make {target}\n" in example("Try it", "sh")
    assert re.search(rf"^{target}:", (CHECKOUT / "Makefile").read_text(), flags=re.M)


def test_the_demo_waits_for_no_tool_of_developers() -> None:
    """It is what a newcomer tries first: five packages, not sixty."""
    make = shutil.which("make")
    if make is None:
        pytest.skip("no make here")
    command = [make, "--dry-run", "demo", "VENV=/nonexistent"]
    said = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    assert "--editable .\n" in said
    assert "[dev" not in said
    assert "clickmw demo" in said


def test_the_readme_says_how_to_install_it() -> None:
    below = README.partition("\n## Install it\n")[2].partition("\n## ")[0]
    assert "`pip install .` in this folder" in below
