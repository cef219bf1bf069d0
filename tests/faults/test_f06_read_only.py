"""F-06: the file system, the folder or the file is read-only.

Links lead on; events are kept in the journal where that is on another disk, else dropped and counted. Health and doctor name
it; when it can be written again all goes on without a restart.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def test_f06_a_journal_mounted_read_only_drops_and_counts(
    tmpfs: Any, remount: Any, sites: Callable[..., Any]
) -> None:
    disk = tmpfs()
    site = sites(journal=str(disk / "journal"))
    site.follow(5)
    site.door.worker.catch_up()
    site.close()  # a file that is open for writing forbids to mount its disk read-only
    remount(disk, "ro")
    site._start()
    site.follow(10)
    site.stands()
    assert site.health()["dropped"]["not_writable"] >= 10
    assert site.health()["status"] == "failing"
    assert "Read-only file system" in site.causes()
    assert "mounted read-only" in site.doctor()
    remount(disk, "rw")
    site.follow(5)
    assert site.health()["status"] == "ok"
    assert site.settle()["stored"] == 10


def test_f06_a_database_mounted_read_only_lets_events_wait(
    tmpfs: Any, remount: Any, sites: Callable[..., Any], eventually: Any
) -> None:
    disk = tmpfs("4m")
    site = sites(store=f"sqlite:///{disk}/clicks.db")
    site.database = disk / "clicks.db"
    site.follow(5)
    site.door.worker.catch_up()
    site.close()
    remount(disk, "ro")
    site._start()
    site.follow(10)
    site.stands()
    assert eventually(lambda: site.health()["store"]["error"])
    assert site.health()["status"] == "degraded"
    assert site.health()["dropped"] == {}
    assert "mounted read-only" in site.doctor()
    remount(disk, "rw")
    assert eventually(lambda: site.health()["pending"] == 0, 60.0)
    assert site.has_all() or set(site.followed) <= set(site.stored())
    assert eventually(lambda: site.health()["status"] == "ok")


NOBODY = """
import os, sys
os.setgid(65534)
os.setuid(65534)
sys.path.insert(0, sys.argv[2])
from webtest import TestApp
from clickmw import ClickMW
from clickmw.events import new_query_id
from clickmw.health import difference
from clickmw.recorder import now_ms
from clickmw.tokens import LinkSigner, LinkTarget
folder, secret = sys.argv[1], "thirty-two characters or more are fine"
clicks = ClickMW(lambda environ, start: start("200 OK", []) and None or [b"page"], secret=secret,
                 store=f"sqlite:///{folder}/clicks.db", journal=folder + "/journal", redirect_rate=None)
browser = TestApp(clicks, extra_environ={"REMOTE_ADDR": "203.0.113.5", "HTTP_USER_AGENT": "Mozilla/5.0 Firefox/140.0"}, lint=False)
for number in range(10):
    target = LinkTarget("", new_query_id(now_ms()), 1, "BWEB", "", "https://example.org/x")
    browser.get("/_clicks/r/" + LinkSigner(secret).sign_link(target), status=302)
    assert browser.get("/page").body == b"page"
ledger = clicks.door.routes.read_health()
assert difference(ledger) == 0
print(ledger["status"], ledger["dropped"].get("not_writable"))
"""


def test_f06_a_folder_that_belongs_to_somebody_else_costs_events_and_no_page(
    root: None, tmp_path: Path
) -> None:
    """Root may write everywhere, so this is another user."""
    folder = tmp_path / "theirs"
    folder.mkdir(mode=0o755)
    for above in (tmp_path, *tmp_path.parents):
        if above == Path("/tmp"):
            break
        above.chmod(above.stat().st_mode | 0o055)
    checkout = Path(__file__).parents[2]
    if not _may_read(checkout):
        pytest.skip("another user may not read this checkout")
    done = subprocess.run(
        [sys.executable, "-c", NOBODY, str(folder), str(checkout)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd="/",
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.stdout.split() == ["failing", "10"], done.stderr


def _may_read(folder: Path) -> bool:
    script = f"import os; os.setuid(65534); os.listdir({str(folder)!r}); import webtest"
    return subprocess.run([sys.executable, "-c", script], cwd="/", check=False, capture_output=True).returncode == 0  # fmt: skip
