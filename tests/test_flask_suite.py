"""Flask's own tests have the same results when every application that they make is wrapped by us."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as xml
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

pytestmark = pytest.mark.wide

PLUGIN = """
import itertools
import tempfile

import flask

from clickmw import ClickMW


folder = tempfile.mkdtemp()
begin = flask.Flask.__init__
wrapped = itertools.count()


def begin_wrapped(self, *arguments, **keywords):
    begin(self, *arguments, **keywords)
    ClickMW(self, secret="s" * 40, store=f"sqlite:///{folder}/clicks.db")
    next(wrapped)


flask.Flask.__init__ = begin_wrapped


def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line(f"{next(wrapped)} applications were wrapped")
"""

#: Whatever wraps ``app.wsgi_app`` holds a method of the application, which holds what wraps it.
FREED = "tests.test_basic::test_app_freed_on_zero_refcount"


@pytest.fixture(scope="module")
def flask_source(python_download: Callable[[str], Path]) -> Path:
    """Flask's source, of the version that is installed here."""
    folder = python_download(f"flask=={version('flask')}")
    source = next(folder.glob("flask-*.tar.gz"))
    unpacked = source.with_name(source.name.removesuffix(".tar.gz"))
    if not (unpacked / "tests").is_dir():
        with tarfile.open(source) as archive:
            archive.extractall(folder, filter="data")
    return unpacked


def results(source: Path, pytest_folder: Path, folder: Path, *options: str) -> dict[str, str]:
    """Run Flask's tests; return what became of each."""
    paths = os.pathsep.join([str(pytest_folder), str(folder)])
    report = folder / "results.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    ran = subprocess.run(
        [*command, "--disable-plugin-autoload", f"--junitxml={report}", *options],
        cwd=source,
        env={**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert report.is_file(), ran.stdout[-2000:] + ran.stderr[-2000:]
    assert ("applications were wrapped" in ran.stdout) == bool(options)
    cases = xml.parse(report).getroot().iter("testcase")
    return {f"{case.get('classname')}::{case.get('name')}": outcome(case) for case in cases}


def outcome(case: xml.Element) -> str:
    return next((part.tag for part in case if part.tag != "system-out"), "passed")


def test_flask_is_the_same_with_us_around_it(
    flask_source: Path, python_client: Callable[[str], Path], tmp_path: Path
) -> None:
    # The newest pytest that Flask's tests of this version can be run by.
    pytest_folder = python_client("pytest==8.4.2")
    (tmp_path / "wrapping.py").write_text(PLUGIN)
    plain = results(flask_source, pytest_folder, tmp_path)
    wrapped = results(flask_source, pytest_folder, tmp_path, "-p", "wrapping")
    assert list(plain.values()).count("passed") > 400
    assert {**wrapped, FREED: "passed"} == plain
