"""The command line: exit codes, messages, and the same numbers as everywhere."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import click
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


def commands(
    group: click.Group = main, *names: str
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield each command with the words that call it, groups too."""
    yield names, group
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *names, name)
        else:
            yield (*names, name), command


HELPS = [pytest.param(words, each, id="-".join(words) or "clickmw") for words, each in commands()]


@pytest.mark.parametrize(("words", "command"), HELPS)
def test_the_help_of_every_command_shows_an_example_that_can_be_copied(
    words: tuple[str, ...], command: click.Command
) -> None:
    lines = run(*words, "--help").output.splitlines()
    example = lines[lines.index("  Example:") + 1]
    assert example.startswith("    clickmw ")
    assert lines[lines.index("  Example:") + 2] == "", "it is on one line"
    assert example.strip() in (command.help or "")


@pytest.mark.parametrize(("words", "command"), HELPS)
def test_every_option_says_what_it_does(words: tuple[str, ...], command: click.Command) -> None:
    silent = [o.name for o in command.params if isinstance(o, click.Option) and not o.help]
    assert silent == []


@pytest.mark.parametrize(("words", "command"), HELPS)
def test_lists_of_commands_end_no_sentence_in_the_middle(
    words: tuple[str, ...], command: click.Command
) -> None:
    assert "..." not in run(*words, "--help").output.replace("[ARGS]...", "").replace(
        "FILES...", ""
    )


def test_what_no_filter_narrows_says_so_in_the_terminal(store: str, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "clicks.db.journal")
    now = now_ms()
    robot = {"robot": "curl", "drop_reason": "robot"}
    journal.write((Search(now, "default", new_query_id(now), "tax", (), 1, **robot),))
    journal.close()
    note = "(what is not counted is not narrowed by device)"
    assert note in run("--store", store, "report", "--device", "mobile").output
    assert note not in run("--store", store, "report").output


def test_the_report_has_what_lies_in_the_journal(store: str) -> None:
    facts = json.loads(run("--store", store, "report", "--json").output)
    assert (facts["totals"]["searches"], facts["totals"]["clicks"]) == (3, 2)
    assert facts["queries"][0]["query"] == "tax form"


def test_the_report_in_the_terminal_says_the_same(store: str) -> None:
    output = run("--store", store, "report").output
    assert "66.7% [20.8% – 93.9%]   2 / 3" in output


def test_a_process_that_only_drains_looks_for_cycles_seldom(
    store: str, request: pytest.FixtureRequest
) -> None:
    before = gc.get_threshold()
    request.addfinalizer(lambda: gc.set_threshold(*before))
    run("--store", store, "drain", "--once")
    assert gc.get_threshold()[0] == 50_000


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
        pytest.param(["backup", __file__], 2, "exists already", id="a copy onto something"),
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


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--device", "foo"], "--device is one of desktop, "),
        (["--trust", "foo"], "--trust is one of signed, "),
        (["--query", "x" * 5000], "--query is at most "),
        (["--language", "a\x00"], "--language is at most "),
        (["--days", "99999"], "--days is before the year "),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_mistake_in_a_filter_names_the_option(words: list[str], says: str, store: str) -> None:
    result = run("--store", store, "report", *words)
    assert (result.exit_code, f"Error: {says}" in result.output) == (2, True), result.output


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


#: A folder that hides waitress from whoever looks there first.
NO_WAITRESS = "raise ImportError('not here')"


def started(tmp_path: Path, *words: str, waitress: bool = True) -> subprocess.Popen[str]:
    """Start a command that runs until it is ended."""
    hidden = tmp_path / "hidden"
    hidden.mkdir(exist_ok=True)
    (hidden / "waitress.py").write_text(NO_WAITRESS)
    (tmp_path / "tmp").mkdir(exist_ok=True)
    more = {} if waitress else {"PYTHONPATH": str(hidden)}
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "clickmw", *words],
        # Whoever runs the tests in the background has Ctrl+C ignored, and so would the command.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=tmp_path,
        env={
            **os.environ,
            "CLICKMW_SECRET": "s" * 40,
            "TMPDIR": str(tmp_path / "tmp"),
            "PYTHONWARNINGS": "ignore",
            **more,
        },
    )


def read_until(process: subprocess.Popen[str], word: str) -> str:
    """Return what *process* says until a line has *word*."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if word in line:
            return said
    raise AssertionError(said)


@pytest.mark.parametrize("waitress", [True, False], ids=["waitress", "alone"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_who_serves_ends_cleanly(tmp_path: Path, number: signal.Signals, waitress: bool) -> None:
    if waitress:
        pytest.importorskip("waitress")
    process = started(tmp_path, "serve", "--port", "0", waitress=waitress)
    address = read_until(process, "http://").split()[-1].removesuffix("report/")
    with urlopen(f"{address}health") as answer:
        assert answer.status == 200
    process.send_signal(number)
    rest = process.communicate(timeout=60)[0]
    assert process.returncode == 0
    assert "Traceback" not in rest


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_the_demo_takes_its_folder_with_it(tmp_path: Path, number: signal.Signals) -> None:
    process = started(tmp_path, "demo", "--port", "0", "--visits", "3")
    read_until(process, "Ctrl+C ends")
    assert [*(tmp_path / "tmp").iterdir()] != []
    process.send_signal(number)
    rest = process.communicate(timeout=60)[0]
    assert process.returncode == 0
    assert "The demo and its data are gone." in rest
    assert "Traceback" not in rest
    assert [*(tmp_path / "tmp").iterdir()] == []


def test_a_demo_that_is_stopped_before_it_is_done_did_not_succeed(tmp_path: Path) -> None:
    process = started(tmp_path, "demo", "--port", "0", "--once", "--visits", "100000")
    read_until(process, "works once")
    process.send_signal(signal.SIGTERM)
    rest = process.communicate(timeout=60)[0]
    assert process.returncode == 1
    assert "Traceback" not in rest
    assert [*(tmp_path / "tmp").iterdir()] == []


def test_the_demo_gives_way_on_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        process = started(tmp_path, "demo", "--port", port, "--visits", "1")
        said = read_until(process, "Ctrl+C ends")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert f"Port {port} is taken; another one is used." in said
    assert f":{port}/" not in said


@pytest.mark.parametrize("waitress", [True, False], ids=["waitress", "alone"])
def test_a_port_that_is_taken_is_named(tmp_path: Path, waitress: bool) -> None:
    if waitress:
        pytest.importorskip("waitress")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = started(tmp_path, "serve", "--port", str(port), waitress=waitress)
        said = process.communicate(timeout=60)[0]
    assert process.returncode == 2
    assert f"port {port} of 127.0.0.1 is taken by another program; choose one with --port" in said
    assert "report/" not in said
    assert "Traceback" not in said


def test_an_address_that_is_not_this_machines_is_named(tmp_path: Path) -> None:
    process = started(tmp_path, "serve", "--host", "192.0.2.1", "--port", "8766")
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 2
    assert "cannot listen at 192.0.2.1:8766" in said


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
