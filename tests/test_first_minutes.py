"""The first minutes of a newcomer: a fresh environment, the wheel, the README's own lines, one click."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("build")
pytestmark = [
    pytest.mark.wide,
    pytest.mark.skipif(os.name != "posix", reason="the paths are those of POSIX"),
]

CHECKOUT = Path(__file__).resolve().parent.parent
README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
NOISE = shutil.ignore_patterns(
    ".*", "__pycache__", "*.egg-info", "build", "dist", "tests", "docs", "*.db", "*.journal"
)
BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0",
    "Accept": "text/html",
    "Sec-Fetch-Site": "same-origin",
}


def example(heading: str, language: str) -> str:
    """Return the first block of *language* below *heading* of the README."""
    below = README.partition(f"\n## {heading}\n")[2]
    found = re.search(rf"^```{language}\n(.*?)^```", below, flags=re.M | re.S)
    assert found, heading
    return found[1]


RESULTS = example("Mark your results", "html")
FLASK = f"""
from flask import Flask

app = Flask(__name__)
app.config["SECRET_KEY"] = "a key of the framework, long enough for us"

@app.get("/search")
def search():
    return '''<!doctype html><title>Results</title><body>{RESULTS}</body>'''

{example("Flask", "python")}
"""
WSGI = f"""
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
    return ['''<!doctype html><title>Results</title><body>{RESULTS}</body>'''.encode()]
"""
URLS = f"""
from django.http import HttpResponse
from django.urls import path

def search(request):
    return HttpResponse('''<!doctype html><title>Results</title><body>{RESULTS}</body>''')

urlpatterns = [path("search", search)]
"""


def run(*command: object, cwd: Path, most_s: int = 300) -> str:
    """Return what *command* printed; its complaints are part of the failure."""
    words = [str(part) for part in command]
    environ = {name: value for name, value in os.environ.items() if "DJANGO" not in name}
    ran = subprocess.run(
        words, cwd=cwd, env=environ, capture_output=True, text=True, check=False, timeout=most_s
    )
    assert ran.returncode == 0, f"{words}\n{ran.stdout[-2000:]}\n{ran.stderr[-2000:]}"
    return ran.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(CHECKOUT, folder / "source", ignore=NOISE)
    build = (sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder)
    run(*build, cwd=folder / "source")
    return next(folder.glob("*.whl"))


@pytest.fixture
def fresh(tmp_path: Path, wheel: Path) -> Callable[..., Path]:
    """Make a virtual environment with the wheel and other packages; return its commands."""

    def make(*packages: str, python: str = sys.executable) -> Path:
        run(python, "-m", "venv", "--without-pip", tmp_path / "venv", cwd=tmp_path)
        commands = tmp_path / "venv" / "bin"
        # Our own pip installs into it: a copy of pip and compiled files take longer than the test.
        pip = (sys.executable, "-m", "pip", "--python", commands / "python", "install", "--quiet")
        run(*pip, "--disable-pip-version-check", "--no-compile", wheel, *packages, cwd=tmp_path)
        return commands

    return make


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., int]]:
    """Start a server; ``{port}`` in its command is a free one, which is returned once it answers."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*command: object) -> int:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = int(free.getsockname()[1])
        words = [str(part).format(port=port) for part in command]
        with (tmp_path / "server.log").open("wb") as log:
            started.append(subprocess.Popen(words, cwd=tmp_path, stdout=log, stderr=log))
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return port
            time.sleep(0.1)
        raise AssertionError((tmp_path / "server.log").read_text())

    yield start
    for process in started:
        process.terminate()
        process.wait(60)


def ask(port: int, path: str) -> tuple[int, str, str]:
    """Return the status, the ``Location`` and the body of one answer."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("GET", path, headers=BROWSER)
        answer = connection.getresponse()
        return answer.status, answer.headers.get("Location", ""), answer.read().decode()


def click(port: int) -> None:
    """Open the results and follow the first of them."""
    status, _place, page = ask(port, "/search?q=tax+form")
    assert status == 200
    links = re.findall(r'href="(/_clicks/r/[^"]+)"', page)
    assert len(links) == 2
    assert ask(port, links[0])[:2] == (302, "https://example.org/a")


def assert_counted(report: str) -> None:
    found: dict[str, Any] = json.loads(report)
    assert (found["totals"]["searches"], found["totals"]["clicks"]) == (1, 1)
    assert found["queries"][0]["query"] == "tax form"


@pytest.mark.parametrize("version", ["2.3", "3.1"])
def test_a_flask_developer(
    version: str, fresh: Callable[..., Path], serve: Callable[..., int], tmp_path: Path
) -> None:
    commands = fresh(f"flask=={version}.*")
    (tmp_path / "mysite.py").write_text(FLASK)
    port = serve(commands / "flask", "--app", "mysite", "run", "--port", "{port}")
    click(port)
    report = (commands / "flask", "--app", "mysite", "clickmw", "report", "--json")
    assert_counted(run(*report, cwd=tmp_path))


def python_from(least: tuple[int, int]) -> str:
    """Return a Python of this machine that is new enough: ours, on the path, or beside ours (pyenv)."""
    if sys.version_info >= least:
        return sys.executable
    names = [f"python3.{minor}" for minor in range(least[1], least[1] + 5)]
    beside = Path(sys.base_prefix).parent.glob("3.*/bin/python3.*")
    found = [shutil.which(name) for name in names]
    found += [str(path) for path in sorted(beside) if path.name in names]
    for python in filter(None, found):
        # pyenv has shims for versions that it would not run.
        if subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0:
            return python
    pytest.skip(f"no Python {least[0]}.{least[1]} or later on this machine")


@pytest.mark.parametrize(("version", "least"), [("5.2", (3, 11)), ("6", (3, 12))], ids=["5.2", "6"])
def test_a_django_developer(
    version: str,
    least: tuple[int, int],
    fresh: Callable[..., Path],
    serve: Callable[..., int],
    tmp_path: Path,
) -> None:
    commands = fresh(f"django=={version}.*", python=python_from(least))
    run(commands / "django-admin", "startproject", "mysite", ".", cwd=tmp_path)
    with (tmp_path / "mysite" / "settings.py").open("a") as settings:
        settings.write(example("Django", "python"))
    (tmp_path / "mysite" / "urls.py").write_text(URLS)
    assert "no issues" in run(commands / "python", "manage.py", "check", cwd=tmp_path)
    manage = (commands / "python", "manage.py")
    click(serve(*manage, "runserver", "--noreload", "127.0.0.1:{port}"))
    assert_counted(run(*manage, "clickmw", "report", "--json", cwd=tmp_path))


def test_a_developer_of_any_application(
    fresh: Callable[..., Path], serve: Callable[..., int], tmp_path: Path
) -> None:
    commands = fresh("waitress")
    (tmp_path / "mysite.py").write_text(WSGI)
    (tmp_path / "served.py").write_text(example("Any WSGI application", "python"))
    click(serve(commands / "waitress-serve", "--listen", "127.0.0.1:{port}", "served:application"))
    report = (commands / "clickmw", "--store", "sqlite:///clicks.db", "report", "--json")
    assert_counted(run(*report, cwd=tmp_path))


@pytest.mark.parametrize(("heading", "most"), [("Flask", 5), ("Django", 4)])
def test_a_few_lines_are_enough(heading: str, most: int) -> None:
    assert len([line for line in example(heading, "python").splitlines() if line]) <= most


STRANGER = """
from clickmw import ClickMW

def host(environ: dict[str, object], start_response: object) -> list[bytes]:
    return []

clicks = ClickMW(host, secret="x" * 32)
reveal_type(clicks)
reveal_type(clicks.search("tax").link("https://example.org/"))
"""


def test_a_stranger_is_told_our_types(fresh: Callable[..., Path], tmp_path: Path) -> None:
    commands = fresh("mypy")
    (tmp_path / "stranger.py").write_text(STRANGER)
    told = run(commands / "python", "-m", "mypy", "--strict", "stranger.py", cwd=tmp_path)
    assert 'Revealed type is "clickmw.middleware.ClickMW"' in told
    assert 'Revealed type is "str"' in told.replace("builtins.str", "str")
