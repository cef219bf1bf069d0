"""F-06: the file system, the folder or the file is read-only.

Links lead on; events are kept in the journal where that is on another disk, else dropped and counted. Health and doctor name
it; when it can be written again all goes on without a restart.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.postgres_server import PostgresServer, postgres_server

#: The tests run on each of these kinds of store.
STORES = ("sqlite", "postgresql")
#: Kind of store → why none of these tests runs on it.
NOT_ON = {
    "clickhouse": "a server that only reads refuses, and the next host of the URL is asked; without one it is F-21"
}


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
    assert set(site.followed) <= set(site.stored())
    assert eventually(lambda: site.health()["status"] == "ok")


NOBODY = """
import os, sys
from webtest import TestApp
from clickmw import ClickMW
from clickmw.events import new_query_id
from clickmw.health import difference
from clickmw.recorder import now_ms
from clickmw.tokens import LinkSigner, LinkTarget
mine, theirs, secret = sys.argv[1], sys.argv[2], "thirty-two characters or more are fine"

def visit(folder, count):
    clicks = ClickMW(host, secret=secret, store=f"sqlite:///{folder}/clicks.db",
                     journal=folder + "/journal", redirect_rate=None)
    agent = {"REMOTE_ADDR": "203.0.113.5", "HTTP_USER_AGENT": "Mozilla/5.0 Firefox/140.0"}
    browser = TestApp(clicks, extra_environ=agent)
    for number in range(count):
        target = LinkTarget("", new_query_id(now_ms()), 1, "BWEB", "", "https://example.org/x")
        browser.get("/_clicks/r/" + LinkSigner(secret).sign_link(target), status=302)
        assert browser.get("/page").body == b"page"
    ledger = clicks.door.routes.read_health()
    assert difference(ledger) == 0
    clicks.door.worker.close()
    return ledger

def host(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"page"]

visit(mine, 1)  # loads all modules: another user may not read where they are
os.setgid(65534)
os.setuid(65534)
ledger = visit(theirs, 10)
print(ledger["status"], ledger["dropped"].get("not_writable"))
"""


def test_f06_a_folder_that_belongs_to_somebody_else_costs_events_and_no_page(
    root: None, tmp_path: Path
) -> None:
    """Root may write everywhere, so this is another user."""
    with TemporaryDirectory() as name:  # below the test's own folder nobody else could look
        Path(name).chmod(0o755)
        done = subprocess.run(
            [sys.executable, "-c", NOBODY, str(tmp_path), name],
            capture_output=True,
            text=True,
            timeout=120,
            cwd=Path(__file__).parents[2],
        )
    assert done.stdout.split() == ["failing", "10"], done.stderr


@pytest.mark.stores("postgresql")
def test_f06_a_user_who_may_only_read_lets_events_wait_until_more_is_granted(
    postgres: PostgresServer, store_url: str, sites: Callable[..., Any], eventually: Any
) -> None:
    schema = store_url.partition("schema=")[2]
    postgres.query("CREATE ROLE onlooker LOGIN")
    try:
        for right in (f"USAGE ON SCHEMA {schema}", f"SELECT ON ALL TABLES IN SCHEMA {schema}"):
            postgres.query(f"GRANT {right} TO onlooker")
        url = store_url.replace("postgres@", "onlooker@")
        site = sites(store=url, report_auth=lambda environ: True)
        site.follow(10)
        site.stands()
        assert eventually(lambda: "permission denied" in site.causes())
        assert (site.health()["status"], site.health()["dropped"]) == ("degraded", {})
        assert site.browser.get("/_clicks/report/overview.json", status=200).json
        for right in ("TABLES", "SEQUENCES"):
            postgres.query(f"GRANT ALL ON ALL {right} IN SCHEMA {schema} TO onlooker")
        assert eventually(lambda: site.health()["pending"] == 0, 60.0)
        assert eventually(lambda: site.health()["status"] == "ok")
        site.settle()
        assert set(site.followed) <= set(site.stored())
    finally:
        postgres.query("DROP OWNED BY onlooker")
        postgres.query("DROP ROLE onlooker")


@pytest.mark.stores("postgresql")
def test_f06_a_server_that_is_a_standby_for_a_while_lets_events_wait(
    sites: Callable[..., Any], eventually: Any
) -> None:
    with postgres_server() as server:
        site = sites(store=server.url(), report_auth=lambda environ: True)
        site.follow(5)
        site.door.worker.catch_up()
        server.stop()
        (server.folder / "standby.signal").touch()
        server.start()
        site.follow(10)
        site.stands()
        assert eventually(lambda: "recovery" in site.causes())
        assert (site.health()["status"], site.health()["dropped"]) == ("degraded", {})
        assert site.browser.get("/_clicks/report/overview.json", status=200).json
        server.query("SELECT pg_promote()")
        assert eventually(lambda: site.health()["pending"] == 0, 60.0)
        site.settle()
        assert set(site.followed) <= set(site.stored())
