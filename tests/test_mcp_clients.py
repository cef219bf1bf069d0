"""Clients of the Model Context Protocol as people have them, against a real server and the command."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from clickmw import ClickMW
from clickmw.demo import running
from clickmw.events import Click, Search, Shown, new_query_id
from clickmw.journal import Journal
from clickmw.recorder import now_ms
from clickmw.rpc import CAPABILITIES_KEY, VERSION_KEY

SCRIPTS = Path(__file__).resolve().parent / "conformance"
KEY = "a key of the tests"

Talk = Callable[..., dict[str, Any]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose store has one query with a click and one without results."""
    now = now_ms() - 1000
    shown = (Shown("https://a.example/1", 1, "BWEB", title="Ünïcode"),)
    page = new_query_id(now)
    with closing(Journal(tmp_path / "clicks.db.journal")) as journal:
        journal.write((Search(now, "default", page, "tax form", shown, 1, visitor="ab" * 8),))
        journal.write((Click(now, "default", shown[0].url, 1, "BWEB", page, visitor="ab" * 8),))
        journal.write((Search(now, "default", new_query_id(now), "lost", (), 0),))
    return tmp_path


@pytest.fixture
def address(folder: Path, clicks_at: Callable[..., ClickMW]) -> Iterator[str]:
    """The address of a running server over that store."""
    keys = [{"key": KEY, "scope": "admin"}]
    journal = str(folder / "clicks.db.journal")
    application = clicks_at(keys=keys, native_paths=True, journal=journal)
    application.door.worker.catch_up(30.0)
    with running(application, 0) as base:
        yield base + "/mcp"


def run(command: list[str], asked: dict[str, Any], cwd: Path, **environ: str) -> dict[str, Any]:
    ran = subprocess.run(
        command,
        input=json.dumps(asked),
        cwd=cwd,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    said: dict[str, Any] = json.loads(ran.stdout)
    return said


@pytest.fixture
def talk(request: pytest.FixtureRequest, python_client: Callable[[str], Path]) -> Talk:
    """Talk to a server with the client that the test names."""
    package, _, mode = request.param.partition(" ")
    if package.startswith("mcp=="):
        command = [sys.executable, str(SCRIPTS / "mcp_client.py")]
        libraries = str(python_client(package))
        return lambda **asked: run(command, {"mode": mode, **asked}, SCRIPTS, PYTHONPATH=libraries)
    folder: Path = request.getfixturevalue("node_clients")
    command = ["node", str(SCRIPTS / "mcp_client.mjs"), package]
    return lambda **asked: run(command, asked, folder)


def expected_revision(client: str) -> str | None:
    if client.startswith("mcp=="):
        return "2025-11-25" if "1.30" in client or "legacy" in client else "2026-07-28"
    return None


CLIENTS = [
    "@modelcontextprotocol/sdk",
    "mcp-sdk-older",
    "mcp==1.30.0",
    "mcp==2.3.0 auto",
    "mcp==2.3.0 legacy",
    "mcp==2.3.0 2026-07-28",
]
each_client = pytest.mark.parametrize("talk", CLIENTS, indirect=True, ids=CLIENTS)


def calls() -> list[tuple[str, dict[str, Any]]]:
    """Return calls with an answer of every tool, a wrong call, and one of no tool."""
    today = datetime.now(UTC).date()
    days = {"from": str(today - timedelta(days=1)), "to": str(today)}
    return [
        ("get_clicks", days),
        ("api_request", {"path": "report/days.json", "method": "GET"}),
        ("top_queries", {"days": 7}),
        ("queries_without_clicks", {}),
        ("queries_without_results", {"limit": 5}),
        ("explain_query", {"query": "tax form"}),
        ("get_clicks", {"from": "2026-01-01", "to": "2027-01-01"}),
        ("no_such_tool", {}),
    ]


def check(said: dict[str, Any], client: str) -> None:
    """Compare what a client was told with what is in the store."""
    assert said.get("revision") == expected_revision(client)
    assert (said["tools"][0], said["again"]) == ("get_clicks", len(said["tools"]))
    *answered, wrong, unknown = said["results"]
    for result in answered:
        assert not result["isError"]
        assert json.loads(result["content"][0]["text"]) == result["structuredContent"]
    clicks, _days, top, _, empty, explained = (each["structuredContent"] for each in answered)
    assert [row["click_count"] for row in clicks["data"]] == [1]
    assert [row["query"] for row in empty["rows"]] == ["lost"]
    assert top["totals"]["search_ctr"]["denominator"] == 2
    assert explained["places"][0]["title"] == "Ünïcode"
    assert wrong["isError"]
    assert json.loads(wrong["content"][0]["text"])["message"] == "Date range cannot exceed 90 days"
    assert unknown == {"code": -32602}


@each_client
def test_a_client_lists_and_calls_the_tools_over_http(
    request: pytest.FixtureRequest, talk: Talk, address: str
) -> None:
    said = talk(url=address, headers={"X-Api-Key": KEY}, calls=calls())
    check(said, request.node.callspec.id)


@each_client
def test_a_client_runs_the_command_and_talks_to_it(
    request: pytest.FixtureRequest, talk: Talk, folder: Path
) -> None:
    store = f"sqlite:///{folder}/clicks.db"
    command = [sys.executable, "-m", "clickmw", "--store", store, "mcp"]
    check(talk(command=command, calls=calls()), request.node.callspec.id)


# --- requests as other clients send them ---------------------------------------------------------


def send(address: str, body: object, headers: list[tuple[str, str]]) -> tuple[int, Any]:
    """Send one POST with these headers and no others; return status and decoded answer."""
    parts = urlsplit(address)
    connection = HTTPConnection(str(parts.hostname), parts.port or 80, timeout=30)
    content = json.dumps(body).encode()
    connection.putrequest("POST", parts.path, skip_accept_encoding=True)
    for name, value in [*headers, ("Content-Length", str(len(content)))]:
        connection.putheader(name, value)
    connection.endheaders(content)
    with closing(connection):
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text else None


OWN = [("Content-Type", "application/json"), ("X-Api-Key", KEY)]


@pytest.mark.parametrize("accept", [[], [("Accept", "application/json")]], ids=["none", "json"])
def test_a_client_that_knows_no_streams_is_answered_at_once(
    address: str, accept: list[tuple[str, str]]
) -> None:
    """The vendor's own clients: no session, the same id again, a call before any handshake."""
    headers = [*OWN, *accept, ("MCP-Protocol-Version", "2025-11-25")]
    calling = {"name": "top_queries", "arguments": {}}
    called = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": calling}
    begun = {**called, "method": "initialize", "params": {"protocolVersion": "2025-11-25"}}
    status, first = send(address, called, headers)
    assert (status, first["result"]["isError"]) == (200, False)
    status, second = send(address, begun, headers)
    assert (status, second["result"]["protocolVersion"]) == (200, "2025-11-25")


@pytest.mark.parametrize("name", ["MCP-Protocol-Version", "Mcp-Method", "Mcp-Name"])
def test_a_routing_header_that_comes_twice_is_refused(address: str, name: str) -> None:
    meta = {VERSION_KEY: "2026-07-28", CAPABILITIES_KEY: {}}
    params = {"name": "top_queries", "arguments": {}, "_meta": meta}
    routing = [
        ("MCP-Protocol-Version", "2026-07-28"),
        ("Mcp-Method", "tools/call"),
        ("Mcp-Name", "top_queries"),
    ]
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    assert send(address, message, OWN + routing)[0] == 200
    twice = [pair for pair in routing if pair[0] == name]
    status, answer = send(address, message, OWN + routing + twice)
    assert (status, answer["error"]["code"]) == (400, -32020)


def test_the_collector_that_stands_alone_answers_agents(tmp_path: Path) -> None:
    config = tmp_path / "clickmw.toml"
    store = f"sqlite:///{tmp_path}/clicks.db"
    keys = f'keys = [ {{ key = "{KEY}", scope = "admin" }} ]'
    config.write_text(f'secret = "{"s" * 32}"\nstore = "{store}"\n{keys}\n')
    port = free_port()
    command = [sys.executable, "-m", "clickmw", "--config", str(config), "serve"]
    with subprocess.Popen(
        [*command, "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
            status, answer = patiently(lambda: send(f"http://127.0.0.1:{port}/mcp", message, OWN))
        finally:
            server.terminate()
    assert (status, answer["result"]["tools"][0]["name"]) == (200, "get_clicks")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def patiently(ask: Callable[[], tuple[int, Any]]) -> tuple[int, Any]:
    """Return what *ask* returns once the server that it asks is there."""
    until = time.monotonic() + 30
    while True:
        try:
            return ask()
        except ConnectionError:
            assert time.monotonic() < until, "the server did not start"
            time.sleep(0.05)
