"""The command line: exit codes, messages, and the same numbers as everywhere."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from clickmw.cli import main
from clickmw.events import Click, Search, Shown, new_query_id
from clickmw.journal import Journal
from clickmw.recorder import now_ms


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A store with three searches and two clicks still in the journal."""
    journal = Journal(tmp_path / "clicks.db.journal")
    now = now_ms()
    for n in range(3):
        page = new_query_id(now)
        shown = (Shown("https://example.org/a", 1, "BWEB"),)
        visitor = f"{n:016x}"
        journal.write((Search(now, "default", page, "tax form", shown, 1, visitor=visitor),))
        if n:
            journal.write((Click(now, "default", shown[0].url, 1, "BWEB", page, visitor=visitor),))
    journal.close()
    return f"sqlite:///{tmp_path / 'clicks.db'}"


def run(*words: str) -> Result:
    return CliRunner().invoke(main, words, env={"CLICKMW_SECRET": ""})


@pytest.mark.parametrize("name", sorted(main.commands))
def test_the_help_of_every_command_shows_an_example(name: str) -> None:
    assert "Example: clickmw" in run(name, "--help").output


def test_the_report_has_what_lies_in_the_journal(store: str) -> None:
    facts = json.loads(run("--store", store, "report", "--json").output)
    assert (facts["totals"]["searches"], facts["totals"]["clicks"]) == (3, 2)
    assert facts["queries"][0]["query"] == "tax form"


def test_the_report_in_the_terminal_says_the_same(store: str) -> None:
    output = run("--store", store, "report").output
    assert "66.7% [20.8% – 93.9%]   2 / 3" in output


def test_drain_once_moves_all_and_the_views_have_it(store: str, tmp_path: Path) -> None:
    assert "5 events moved" in run("--store", store, "drain", "--once").output
    with sqlite3.connect(tmp_path / "clicks.db") as database:
        assert database.execute("SELECT count(*) FROM clicks").fetchall() == [(2,)]


def test_check_is_content_with_true_numbers(store: str) -> None:
    result = run("--store", store, "check", "--json")
    assert (result.exit_code, json.loads(result.output)) == (0, {"ok": True, "problems": []})


def test_check_finds_a_number_that_was_changed(store: str, tmp_path: Path) -> None:
    run("--store", store, "drain", "--once")
    with sqlite3.connect(tmp_path / "clicks.db") as database:
        database.execute("UPDATE cube SET clicks = clicks + 1 WHERE clicks > 0")
    result = run("--store", store, "check")
    assert result.exit_code == 1
    assert "cube" in result.output


def test_doctor_finds_a_sound_install_sound(store: str) -> None:
    run("--store", store, "drain", "--once")
    findings = json.loads(run("--store", store, "doctor", "--json").output)
    assert {finding["verdict"] for finding in findings} <= {"good", "note"}


def test_doctor_names_a_time_zone_that_is_not_in_force(store: str, tmp_path: Path) -> None:
    run("--store", store, "drain", "--once")
    config = tmp_path / "clickmw.toml"
    config.write_text('time_zone = "Asia/Kathmandu"\n')
    result = run("--config", str(config), "--store", store, "doctor")
    assert result.exit_code == 1
    assert "kept in UTC, the setting says Asia/Kathmandu" in result.output


def test_doctor_names_the_native_paths_where_they_are_on(store: str, tmp_path: Path) -> None:
    config = tmp_path / "clickmw.toml"
    config.write_text("native_paths = true\n")
    said = run("--config", str(config), "--store", store, "doctor").output
    for path in ("/api/v1/schema", "/api/v2/click", "/mcp", "/v1/stats/{key}"):
        assert path in said
    assert "native paths:" not in run("--store", store, "doctor").output


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        pytest.param(["--store", "foo:///x", "report"], 2, "no store is called 'foo';", id="kind"),
        pytest.param(["--store", "sqlite:////nowhere/x.db", "report"], 3, "no database", id="path"),
        pytest.param(["--config", "/nowhere.toml", "report"], 2, "/nowhere.toml", id="config"),
        pytest.param(["serve"], 2, "CLICKMW_SECRET", id="secret"),
        pytest.param(["simulate", "http://192.0.2.1"], 2, "", id="not loopback"),
        pytest.param(["report", "--nonsense"], 2, "--nonsense", id="usage"),
        pytest.param(["report", "--days", "0"], 2, "--days", id="no day"),
        pytest.param(["report", "--top", "-1"], 2, "--top", id="rows below none"),
        pytest.param(["serve", "--port", "99999"], 2, "--port", id="port"),
        pytest.param(["import", "/nowhere.jsonl"], 2, "does not exist", id="file"),
        pytest.param(["snippet", "--origin", "clicks.example"], 2, "https://", id="origin"),
        pytest.param(["erase", "--visitor", "me", "--yes"], 2, "16 hex digits", id="visitor"),
        pytest.param(
            ["export", "--table", "clicks", "--from", "2026-02-01", "--to", "2026-01-31"],
            2,
            "--from is later than --to",
            id="days",
        ),
    ],
)
def test_a_mistake_has_its_exit_code_and_a_sentence(words: list[str], code: int, says: str) -> None:
    result = run(*words)
    assert result.exit_code == code
    assert says in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("words", [["report"], ["export", "--table", "clicks"]], ids=lambda w: w[0])
def test_a_site_that_nobody_knows_is_a_mistake(words: list[str], store: str) -> None:
    result = run("--store", store, *words, "--site", "nobody")
    assert result.exit_code == 2
    assert "no site is called 'nobody'; there is default" in result.output


def test_trouble_that_stays_is_said_at_its_beginning_and_at_its_end(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "clicks.db").write_text("nothing that SQLite knows\n" * 99)
    monkeypatch.setattr("clickmw.console.time.sleep", lambda _seconds: None)
    result = run("--store", store, "drain", "--once")
    assert result.exit_code == 3
    assert result.output.count("file is not a database") == 2


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    pytest.importorskip("waitress")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", "clickmw", "serve", "--port", port],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=tmp_path,
            env={**os.environ, "CLICKMW_SECRET": "s" * 40},
        )
    assert done.returncode == 1
    assert f"cannot listen at 127.0.0.1:{port}" in done.stderr
    assert "--port" in done.stderr


def test_the_demo_prints_true_numbers_and_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "clickmw", "demo", "--once", "--visits", "40", "--port", "0"]
    done = subprocess.run(
        [*command, "--json"],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == [], "the data is gone when it ends"
    facts = json.loads(done.stdout.splitlines()[-1])
    assert facts["problems"] == []
    assert facts["totals"]["searches"] == facts["visits"]["searches"]
    assert facts["totals"]["clicks"] == facts["visits"]["clicks"]


def test_who_reads_only_the_first_line_sees_no_complaint(store: str) -> None:
    command = f"{sys.executable} -m clickmw --store {store} report | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
