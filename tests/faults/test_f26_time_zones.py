"""F-26: the machine has no time zone data.

With the default zone everything works. A zone that cannot be found is a wrong setting and is named at the start, with the
package to install; where the store's days are kept in such a zone, events wait.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfoNotFoundError

import pytest

from clickmw import zones

#: The tests run on each of these kinds of store.
STORES = ("sqlite", "postgresql", "clickhouse")

SITE = """
import importlib.abc, sys
class Without(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "tzdata":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Without())
from clickmw import ClickMW
from clickmw.errors import SettingsError
from webtest import TestApp
folder, zone = sys.argv[1:]
page = '<ol data-click-module="A"><a data-click href="https://example.org/1">1</a></ol>'.encode()
def host(environ, start):
    start("200 OK", [("Content-Type", "text/html"), ("Cache-Control", "private")])
    return [page]
try:
    clicks = ClickMW(host, secret="s" * 32, store=f"sqlite:///{folder}/clicks.db", time_zone=zone,
                     report_auth=lambda environ: True)
except SettingsError as error:
    print("refused:", error)
    sys.exit()
browser = TestApp(clicks, extra_environ={"REMOTE_ADDR": "203.0.113.5", "HTTP_USER_AGENT": "Mozilla/5.0 Firefox/140.0"})
answer = browser.get("/?q=tax")
link = answer.text.split('href="')[1].split('"')[0]
browser.get(link, status=302)
browser.get("/_clicks/report/", status=200)
print(clicks.door.store.check(), clicks.door.routes.read_health()["stored"])
clicks.door.worker.close()
"""


def _run(folder: Path, zone: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", SITE, str(folder), zone],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONTZPATH": ""},
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_f26_without_zone_data_the_default_zone_works(tmp_path: Path) -> None:
    assert _run(tmp_path, "UTC") == "[] 2"


def test_f26_a_zone_that_cannot_be_found_is_named_at_the_start(tmp_path: Path) -> None:
    said = _run(tmp_path, "America/New_York")
    assert said.startswith("refused:")
    assert "America/New_York" in said
    assert "tzdata" in said


def test_f26_days_of_a_zone_that_is_not_known_here_wait(
    site: Any, monkeypatch: pytest.MonkeyPatch, eventually: Any
) -> None:
    site.given["time_zone"] = "America/New_York"
    site.restart()
    site.follow(3)
    site.door.worker.catch_up()
    site.close()
    site._start()

    def unknown(name: str) -> None:
        raise ZoneInfoNotFoundError(name)

    monkeypatch.setattr(zones, "ZoneInfo", unknown)
    site.follow(3)
    site.stands()
    assert eventually(lambda: "does not know" in site.causes())
    assert site.health()["dropped"] == {}
    monkeypatch.undo()
    assert eventually(lambda: site.health()["pending"] == 0, 60.0)
    assert set(site.followed) <= set(site.stored())
