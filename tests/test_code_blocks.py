"""Every code block of the documentation is run, or read by what reads its language."""

from __future__ import annotations

import configparser
import itertools
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple
from xml.etree import ElementTree

import flask
import pytest
from webtest import TestApp

from clickmw import ClickMW
from clickmw.demo import running
from clickmw.middleware import Door

CHECKOUT = Path(__file__).resolve().parent.parent
SECRET = "a secret of the documentation, long enough"
BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"}
STORE = "sqlite:////var/lib/mysite/clicks.db"


class Block(NamedTuple):
    """One fenced block, with the page that has it."""

    page: str
    number: int
    language: str
    code: str


def blocks() -> Iterator[Block]:
    pages = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").rglob("*.md"))]
    for page in pages:
        found = re.finditer(r"^```(\w+)\n(.*?)^```", page.read_text("utf-8"), flags=re.M | re.S)
        for number, block in enumerate(found):
            yield Block(page.relative_to(CHECKOUT).as_posix(), number, block[1], block[2])


BLOCKS = list(blocks())


def of(*languages: str) -> Any:
    """Parametrize a test by the blocks in *languages*."""
    chosen = [block for block in BLOCKS if block.language in languages]
    assert chosen
    names = [f"{block.page}-{block.number}" for block in chosen]
    return pytest.mark.parametrize("block", chosen, ids=names)


def filled_in(code: str) -> str:
    """Return *code* with a text of its own for each "…" that its reader fills in."""
    number = itertools.count(1)
    return re.sub('"…"', lambda _: f'"a text that the reader chose, number {next(number)}"', code)


FOUND = b'<li><a data-click href="https://example.org/people/jane-doe">Jane Doe</a></li>'


def host(_environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
    return [b"<!doctype html><title>Results</title><ol data-click-module=BWEB>", FOUND, b"</ol>"]


def test_every_language_is_known_here() -> None:
    run = {"python", "sh", "toml", "json", "js", "html", "sql", "ini", "xml"}
    # What only the program itself can read, and we do not start.
    shown = {"nginx", "apache", "dockerfile"}
    assert {block.language for block in BLOCKS} == run | shown


# -- Python ----------------------------------------------------------------------------------------


@pytest.fixture
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The names that a block may suppose, in a working folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLICKMW_SECRET", SECRET)
    modules = {"mysite": {"application": host}, "flask_login": {"current_user": SimpleNamespace()}}
    for name, content in modules.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr("django.core.wsgi.get_wsgi_application", lambda: host)
    app = flask.Flask("mysite", instance_path=str(tmp_path))
    hit = SimpleNamespace(url="https://example.org/a", title="A", id="4a94bc6e")
    names: dict[str, Any] = {
        "ClickMW": ClickMW,
        "application": host,
        "app": app,
        "request": flask.request,
        "query": "tax form",
        "hits": [hit],
        "found": [hit],
        "find": lambda _query: ([hit], 1),
        "INSTALLED_APPS": [],
        "MIDDLEWARE": ["django.middleware.security.SecurityMiddleware"],
    }
    yield names
    for made in (*names.values(), app.extensions.get("clickmw")):
        if isinstance(made, ClickMW) and made._door is not None:
            made.door.worker.close()


def run_in_a_request(block: Block, names: dict[str, Any]) -> None:
    """Run *block* while a page is made: links are given to somebody."""

    def page(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        exec(filled_in(block.code), names)
        return host(environ, start_response)

    names["clicks"] = ClickMW(page)
    assert TestApp(names["clicks"]).get("/search?q=tax+form", headers=BROWSER).status_int == 200


@of("python")
def test_python_runs(block: Block, surroundings: dict[str, Any]) -> None:
    names = surroundings
    if "@app" in block.code:
        names["clicks"] = ClickMW(names["app"])
    if "clicks." in block.code and "@app" not in block.code:
        run_in_a_request(block, names)
    else:
        exec(filled_in(block.code), names)
    if isinstance(names["application"], ClickMW):
        assert TestApp(names["application"]).get("/search", headers=BROWSER).status_int == 200
    if isinstance(names["app"].wsgi_app, Door):
        health = names["app"].test_client().get("/_clicks/health")
        assert health.status_code == 200
    if "links" in names:
        assert names["links"][0].startswith("/_clicks/r/")
    if "ads" in names:
        assert names["ads"][0]["click_url"].startswith("/_clicks/v1/beacon/click/4a94bc6e")
    if "search" in names:
        found = names["app"].test_client().get("/api/search?q=tax+form").json
        assert found["results"][0]["href"].startswith("/_clicks/r/")


# -- shell -----------------------------------------------------------------------------------------

#: A refusal fails the block, and who is asked says yes.
PRELUDE = """
curl() { command curl --fail-with-body --silent --show-error "$@"; }
clickmw() { echo y | command clickmw "$@"; }
"""
#: What we do not run: it needs what this machine may not have, or another test runs it.
NOT_OURS = ("make ", "datasette ", "python manage.py ")
MYSITE = """
from flask import Flask
from clickmw import ClickMW

app = Flask(__name__)
app.config["SECRET_KEY"] = "a key of the framework, long enough for us"
clicks = ClickMW(app, store="sqlite:///clicks.db")
"""
LOG_LINE = '203.0.113.5 - - [31/Jan/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "Mozilla/5.0"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a site's files, of which the database has a search and a click."""
    store = f"sqlite:///{tmp_path / 'clicks.db'}"
    clicks = ClickMW(host, secret=SECRET, store=store)
    visitor = TestApp(clicks, extra_environ={"REMOTE_ADDR": "203.0.113.7"})
    page = visitor.get("/search?q=jane+doe", headers=BROWSER).text
    (link,) = re.findall(r'href="(/_clicks/r/[^"]+)"', page)
    visitor.get(link, headers={**BROWSER, "Sec-Fetch-Site": "same-origin"}, status=302)
    clicks.door.worker.catch_up(20.0)
    clicks.door.worker.close()
    (tmp_path / "clickmw.toml").write_text(f'secret = "{SECRET}"\nstore = "{store}"\n')
    (tmp_path / "mysite.py").write_text(MYSITE)
    (tmp_path / "access.log").write_text(LOG_LINE)
    shutil.copy(tmp_path / "access.log", tmp_path / "access.log.1")
    subprocess.run(["gzip", tmp_path / "access.log.1"], check=True)
    (tmp_path / "backups").mkdir()
    return tmp_path


def bash(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run *script* in *folder* as somebody who has installed us and says yes."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={**os.environ, "PATH": path, "CLICKMW_SECRET": SECRET},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@of("sh")
def test_commands_run(block: Block, folder: Path, api: Callable[[str], str]) -> None:
    script = block.code.replace(STORE, "sqlite:///clicks.db").replace("/backups/", "backups/")
    address = api(block.page)
    script = re.sub(
        r"https?://(www\.example\.\w+|localhost:8000)/_clicks", f"{address}/_clicks", script
    )
    script = script.replace("YOUR_KEY", "$KEY").replace("'X-Api-Key: …'", '"X-Api-Key: $KEY"')
    script = f'{PRELUDE}KEY="{KEY}"\n{script}'
    lines = [line for line in script.splitlines() if not line.startswith(NOT_OURS)]
    # "doctor" ends with 1 where it finds fault, which is not the fault of its line.
    lines = [f"{line} || [ $? = 1 ]" if line.endswith(" doctor") else line for line in lines]
    ran = bash("\n".join(lines), folder)
    assert ran.returncode == 0, f"{ran.stdout[-1500:]}\n{ran.stderr[-1500:]}"


KEY = "a text that the reader chose, number 1"


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Start a site with the settings that a page shows; return its address."""
    with ExitStack() as ends:

        def start(page: str) -> str:
            shown = [b.code for b in BLOCKS if b.page == page and b.language == "toml"]
            settings = tomllib.loads(filled_in(shown[0])) if shown else {}
            settings = settings or {"keys": [{"key": KEY, "scope": "admin"}]}
            settings |= {"secret": SECRET, "store": f"sqlite:///{tmp_path / 'api.db'}"}
            clicks = ClickMW(host, **settings)
            ends.callback(clicks.door.worker.close)
            return ends.enter_context(running(clicks, 0))

        yield start


# -- settings, data, pages -------------------------------------------------------------------------


@of("toml")
def test_settings_start_a_site(block: Block, tmp_path: Path) -> None:
    (tmp_path / "clickmw.toml").write_text(filled_in(block.code))
    fixed: dict[str, Any] = {"store": f"sqlite:///{tmp_path / 'clicks.db'}"}
    if "secret" not in tomllib.loads(block.code):
        fixed["secret"] = SECRET
    clicks = ClickMW(host, config=str(tmp_path / "clickmw.toml"), **fixed)
    assert TestApp(clicks).get("/search", headers=BROWSER).status_int == 200
    clicks.door.worker.close()


@of("json")
def test_json_can_be_read(block: Block) -> None:
    assert json.loads(block.code)


@of("js")
def test_scripts_can_be_read(block: Block, tmp_path: Path) -> None:
    if shutil.which("node") is None and os.environ.get("CI") != "true":
        pytest.skip("no node on this machine")
    (tmp_path / "block.mjs").write_text(block.code)
    subprocess.run(["node", "--check", "block.mjs"], cwd=tmp_path, check=True, timeout=60)


@of("html")
def test_marked_results_are_signed(block: Block, tmp_path: Path) -> None:
    page = f"<!doctype html><title>Results</title><body>{block.code}</body>".encode()

    def results(_environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
        return [page]

    clicks = ClickMW(results, secret=SECRET, store=f"sqlite:///{tmp_path / 'clicks.db'}")
    answer = TestApp(clicks).get("/search?q=tax", headers=BROWSER).text
    clicks.door.worker.close()
    marked = len(re.findall(r"<a data-click[ >]", block.code))
    assert answer.count('href="/_clicks/r/') == marked


@of("sql")
def test_questions_to_the_views_are_answered(block: Block, folder: Path) -> None:
    with closing(sqlite3.connect(folder / "clicks.db")) as database:
        assert database.execute(block.code).fetchall() == [("jane doe", 1, 1.0)]


@of("ini")
def test_units_can_be_read(block: Block) -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.read_string(block.code)
    assert parser.sections()


@of("xml")
def test_clusters_have_replicas_with_a_host_and_a_port(block: Block) -> None:
    servers = ElementTree.fromstring(block.code)  # our own page
    replicas = servers.findall("./clicks/shard/replica")
    assert servers.tag == "remote_servers"
    assert [replica.findtext("host") for replica in replicas] == ["one", "two", "three", "four"]
    assert {replica.findtext("port") for replica in replicas} == {"9000"}
