"""Events to files and back: what was exported makes the same store again, once."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from clickmw.access_logs import read_line
from clickmw.cli import main
from clickmw.events import Click, Search, Shown, new_query_id
from clickmw.recorder import now_ms
from clickmw.stores.base import StoreOptions
from clickmw.stores.sqlite import SQLiteStore
from clickmw.tokens import LinkSigner, LinkTarget

DAY_MS = 86_400_000
START_MS = 1_750_000_000_000
SECRET = "s" * 32
Events = Callable[..., list[Any]]


@pytest.fixture
def site(tmp_path: Path, days_of_events: Events, feed_of: Callable[..., Any]) -> str:
    """The URL of a store with four days of two sites."""
    with closing(SQLiteStore(tmp_path / "clicks.db", StoreOptions())) as store:
        events = days_of_events(1, START_MS, 4)
        feed = feed_of(store)
        for start in range(0, len(events), 200):
            feed(*events[start : start + 200])
    return f"sqlite:///{tmp_path / 'clicks.db'}"


def run(*words: str | Path, **more: Any) -> Result:
    runner = CliRunner()
    return runner.invoke(
        main, [str(word) for word in words], env={"CLICKMW_SECRET": SECRET}, **more
    )


def views(url: str) -> dict[str, list[Any]]:
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        sql = "SELECT name FROM sqlite_schema WHERE type = 'view'"
        names = [name for (name,) in connection.execute(sql)]
        return {
            name: sorted(connection.execute(f"SELECT * FROM {name}").fetchall(), key=repr)
            for name in names
        }


def taken_in(url: str, *words: str | Path, exit_code: int = 0, **more: Any) -> dict[str, int]:
    done = run("--store", url, "import", *words, "--json", **more)
    assert done.exit_code == exit_code, done.output
    counts: dict[str, int] = json.loads(done.stdout)
    return counts


# -- there and back ------------------------------------------------------------------------------


@pytest.fixture
def lines(site: str, tmp_path: Path) -> Path:
    """All of the store in JSON lines."""
    path = tmp_path / "all.jsonl"
    assert run("--store", site, "export", "--format", "jsonl", "--output", path).exit_code == 0
    return path


def test_an_import_makes_the_same_views(site: str, lines: Path, tmp_path: Path) -> None:
    other = f"sqlite:///{tmp_path / 'other.db'}"
    assert "no event" not in taken_in(other, lines)
    expected, found = views(site), views(other)
    assert {name: len(rows) for name, rows in found.items()} == {
        name: len(rows) for name, rows in expected.items()
    }
    for name in expected:
        assert found[name] == expected[name], name
    assert run("--store", other, "check").output.startswith("ok")


def test_an_import_in_the_wrong_order_makes_the_same_views(
    site: str, lines: Path, tmp_path: Path
) -> None:
    other = f"sqlite:///{tmp_path / 'other.db'}"
    backwards = tmp_path / "backwards.jsonl"
    written = lines.read_text().splitlines(keepends=True)
    shown = [line for line in written if '"table": "impressions"' in line]  # in order: one event
    rest = [line for line in written if '"table": "impressions"' not in line]
    backwards.write_text("".join([*rest[::-1], *shown]))
    taken_in(other, backwards)
    assert views(other) == views(site)
    assert run("--store", other, "check").output.startswith("ok")


def test_importing_twice_adds_nothing(site: str, lines: Path) -> None:
    before = views(site)
    health = run("--store", site, "report", "--json").output
    counts = taken_in(site, lines)
    assert set(counts) == {"there already"}
    assert (views(site), run("--store", site, "report", "--json").output) == (before, health)


def test_an_import_adds_to_what_is_there(site: str, lines: Path, tmp_path: Path) -> None:
    other, half = f"sqlite:///{tmp_path / 'other.db'}", tmp_path / "half.jsonl"
    written = lines.read_text().splitlines(keepends=True)
    half.write_text("".join(line for line in written if hash(json.loads(line)["event_id"]) % 2))
    taken_in(other, half)
    taken_in(other, "-", input=lines.read_bytes())
    assert {name: len(rows) for name, rows in views(other).items()} == {
        name: len(rows) for name, rows in views(site).items()
    }
    assert run("--store", other, "check").output.startswith("ok")


def test_what_is_pruned_is_not_imported_again(site: str, lines: Path, tmp_path: Path) -> None:
    with closing(SQLiteStore(tmp_path / "clicks.db", StoreOptions())) as store:
        while store.prune(START_MS + 2 * DAY_MS, limit=1000):
            pass
    before = views(site)
    counts = taken_in(site, lines)
    assert counts["before the horizon"] > 0
    assert "imported" not in counts
    assert views(site) == before


def test_lines_that_are_no_events_are_counted_and_stop_nothing(site: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.jsonl"
    good = run("--store", site, "export", "--format", "jsonl", "--table", "feedback").stdout
    odd = ["[]", "{", '{"event_id": "00"}', '{"event_id": null}']
    row = json.loads(good.splitlines()[0])
    odd += [json.dumps({**row, "event_id": f"{n:032x}", **bad}) for n, bad in enumerate(ODD)]
    path.write_text("\n".join([*odd, good]))
    counts = taken_in(f"sqlite:///{tmp_path / 'other.db'}", path, exit_code=1)
    assert counts.pop("imported") == len(good.splitlines())
    assert sum(counts.values()) == len(odd)


ODD: list[dict[str, Any]] = [
    {"table": "nothing"},
    {"received_ms": "late"},
    {"visitor": "not hex"},
    {"query_id": "abc"},
    {"score": "many"},
    {"site": {"a": 1}},
]


# -- CSV -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "table",
    ["clicks", "searches", "impressions", "feedback", "answers", "conversions", "daily_clicks"],
)
def test_a_csv_file_has_the_view(table: str, site: str, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    done = run("--store", site, "export", "--table", table, "--output", path, "--exact")
    assert done.exit_code == 0, done.output
    head, *rows = csv.reader(io.StringIO(path.read_text()))
    expected = views(site)[table]
    assert len(rows) == len(expected) > 0
    assert sorted(rows) == sorted([["" if v is None else str(v) for v in row] for row in expected])
    assert "site" in head
    assert path.stat().st_mode & 0o077 == 0


def test_an_export_is_of_the_days_and_the_site_asked_for(site: str) -> None:
    day = views(site)["daily_clicks"][0][1]
    asked = ("--table", "searches", "--from", day, "--to", day, "--site", "a")
    rows = list(csv.DictReader(io.StringIO(run("--store", site, "export", *asked).stdout)))
    assert {(row["day"], row["site"]) for row in rows} == {(day, "a")}


@pytest.mark.parametrize(("option", "cell"), [((), "'=cmd()"), (("--exact",), "=cmd()")])
def test_a_spreadsheet_is_given_nothing_to_run(
    option: tuple[str, ...], cell: str, tmp_path: Path, feed_of: Callable[..., Any]
) -> None:
    with closing(SQLiteStore(tmp_path / "clicks.db", StoreOptions())) as store:
        feed_of(store)(Search(START_MS, "a", new_query_id(START_MS), "=cmd()"))
    url = f"sqlite:///{tmp_path / 'clicks.db'}"
    said = run("--store", url, "export", "--table", "searches", *option).stdout
    assert next(csv.DictReader(io.StringIO(said)))["query"] == cell


def test_an_export_overwrites_nothing(site: str, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("precious")
    done = run("--store", site, "export", "--table", "clicks", "--output", path)
    assert (done.exit_code, path.read_text()) == (2, "precious")


def test_wrong_lines_are_named_by_their_numbers_and_the_others_taken_in(
    lines: Path, tmp_path: Path
) -> None:
    good = [line for line in lines.read_text().splitlines() if '"table": "clicks"' in line][:9]
    torn = good[1][:-9], '{"table": "clicks", "event_id": 7}', "[]", "null", '"a"', "{}"
    lines.write_text("\n".join(["not JSON", "", good[0], *torn, *good[1:]]) + "\n")
    url = f"sqlite:///{tmp_path / 'other.db'}"
    done = run("--store", url, "import", lines, "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout) == {"imported": 9, "no event": 7}
    assert done.stderr == f"clickmw: {lines}: no event: lines 1, 4, 5, 6, 7 and 2 more\n"
    assert len(views(url)["clicks"]) == 9


def test_an_event_of_many_lines_is_named_by_the_first_of_them(lines: Path, tmp_path: Path) -> None:
    answer = {"table": "impressions", "event_id": "0" * 32, "kind": "related", "received_ms": "x"}
    line = json.dumps(answer)
    lines.write_text(f"\n{line}\n{line}\n{line}\n")
    done = run("--store", f"sqlite:///{tmp_path / 'other.db'}", "import", lines)
    assert (done.exit_code, done.stderr) == (1, f"clickmw: {lines}: no event: line 2\n")


# -- logs of a web server ------------------------------------------------------------------------

LINE = '{host} - - [{time}] "{method} {path} HTTP/1.1" {status} 0 "{referrer}" "{agent}"\n'
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def link(query_id: str, url: str = "https://example.org/a", secret: str = SECRET) -> str:
    target = LinkTarget("", query_id, 2, "WEB", "", url)
    return "/_clicks/r/" + LinkSigner(secret).sign_link(target)


def line(path: str, moment: str = "15/Jun/2025:15:06:45 +0000", **more: Any) -> str:
    given = {"host": "192.0.2.1", "method": "GET", "status": 302, "referrer": "-", "agent": AGENT}
    return LINE.format(path=path, time=moment, **{**given, **more})


PAGE_MS = 1_749_999_990_000  # 15 June 2025, 15:06:30


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log with two clicks on two pages, one of them twice, and much else."""
    pages = [new_query_id(PAGE_MS), new_query_id(PAGE_MS), new_query_id(PAGE_MS - 40 * DAY_MS)]
    path = tmp_path / "access.log"
    path.write_text(
        line(link(pages[0]))
        + line(link(pages[0]))  # rotated twice
        + line("/app" + link(pages[1]) + "?v=x", "15/Jun/2025:17:07:00 +0200")
        + line(link(pages[1]), agent="Googlebot/2.1")
        + line(link(pages[2]))
        + line("/search?q=a", status=200)
        + line(link(pages[0]), method="HEAD")
        + line(link(pages[0]), status=425)
        + line(link(pages[0], secret="t" * 32))
        + line("/_clicks/r/nothing", status=400)
        + "/_clicks/r/ torn"
    )
    return path


def clicks_of(url: str) -> list[tuple[Any, ...]]:
    sql = (
        "SELECT received_at, url, position, drop_reason, visitor, source FROM clicks ORDER BY 1, 4"
    )
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        return connection.execute(sql).fetchall()


def test_the_clicks_of_a_log_are_filled_in(log: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'clicks.db'}"
    assert Counter(taken_in(url, "--format", "combined", log)) == {
        "imported": 4,
        "another page": 1,
        "HEAD answered 302": 1,
        "GET answered 425": 1,
        "not a link of this site": 1,
        "GET answered 400": 1,
        "no line of a log": 1,
    }
    target = ("https://example.org/a", 2)
    assert clicks_of(url) == [
        ("2025-06-15T15:06:45.000Z", *target, None, None, "redirect"),
        ("2025-06-15T15:06:45.000Z", *target, "robot", None, "redirect"),
        ("2025-06-15T15:06:45.000Z", *target, "stale", None, "redirect"),
        ("2025-06-15T15:07:00.000Z", *target, None, None, "redirect"),
    ]
    assert run("--store", url, "check").output.startswith("ok")


def test_wrong_lines_of_a_log_are_named_and_are_the_strangers(log: Path, tmp_path: Path) -> None:
    done = run(
        *("--store", f"sqlite:///{tmp_path / 'clicks.db'}"), "import", "--format", "combined", log
    )
    assert done.exit_code == 0
    assert done.stderr.splitlines() == [
        f"clickmw: {log}: not a link of this site: line 9",
        f"clickmw: {log}: no line of a log: line 11",
    ]


def test_a_log_that_is_read_again_adds_nothing(log: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'clicks.db'}"
    taken_in(url, "--format", "combined", log)
    before = clicks_of(url)
    packed = tmp_path / "access.log.1.gz"
    packed.write_bytes(gzip.compress(log.read_bytes()))
    counts = taken_in(url, "--format", "combined", log, packed)
    assert ("imported" in counts, counts["there already"]) == (False, 8)
    assert clicks_of(url) == before


def test_a_click_that_the_site_has_recorded_is_not_filled_in(
    log: Path, tmp_path: Path, feed_of: Callable[..., Any]
) -> None:
    url = f"sqlite:///{tmp_path / 'clicks.db'}"
    page = new_query_id(PAGE_MS)
    with closing(SQLiteStore(tmp_path / "clicks.db", StoreOptions())) as store:
        shown = (Shown("https://example.org/a", 2, "WEB"),)
        clicked = Click(PAGE_MS + 15_433, "default", shown[0].url, 2, "WEB", page, visitor="1" * 16)
        feed_of(store)(Search(PAGE_MS, "default", page, "a", shown), clicked)
    log.write_text(line(link(page)) + line(link(page), "15/Jun/2025:16:00:00 +0000"))
    counts = taken_in(url, "--format", "combined", log)
    assert counts == {"imported": 1, "there already": 1}


def test_a_log_needs_the_secret_of_the_site(log: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'clicks.db'}"
    words = ["--store", url, "import", "--format", "combined", str(log)]
    done = CliRunner().invoke(main, words, env={"CLICKMW_SECRET": ""})
    assert (done.exit_code, "secret is missing" in done.output) == (2, True)


@pytest.mark.parametrize(
    ("text", "path", "moment_ms"),
    [
        pytest.param(line("/a"), "/a", 1_750_000_005_000, id="plain"),
        pytest.param("www.example.org:443 " + line("/a"), "/a", 1_750_000_005_000, id="with host"),
        pytest.param(line("/a").replace("- -", '- "a b"'), "/a", 1_750_000_005_000, id="user"),
        pytest.param(line("/a", "15/Jun/2025:20:51:45 +0545"), "/a", 1_750_000_005_000, id="east"),
        pytest.param(line("/a", "15/Jun/2025:11:36:45 -0330"), "/a", 1_750_000_005_000, id="west"),
        pytest.param(line("/a", agent='a \\"b\\" c'), "/a", 1_750_000_005_000, id="quotes"),
        pytest.param('::1 - - [15/Jun/2025:15:06:45 +0000] "GET /a HTTP/2" 302 -', "/a", 1_750_000_005_000, id="common"),
    ],
)  # fmt: skip
def test_a_line_of_a_log_is_read(text: str, path: str, moment_ms: int) -> None:
    logged = read_line(text.encode())
    assert logged is not None
    assert (logged.path, logged.received_ms, logged.status) == (path, moment_ms, 302)


@pytest.mark.parametrize(
    "text",
    ["", "-", line("/a", "32/Jun/2025:15:06:45 +0000"), line("/a", "15/Foo/2025:15:06:45 +0000")],
)
def test_what_is_no_line_of_a_log_is_none(text: str) -> None:
    assert read_line(text.encode()) is None


def test_a_long_line_is_read_in_linear_time() -> None:
    begun = now_ms()
    for text in ("[" * 100_000, '"' * 100_000, " " * 100_000, 'a - "' * 30_000, "1 " * 50_000):
        read_line(text.encode())
    assert now_ms() - begun < 5000
