"""Appends to replicated servers while one of them is killed: nothing lost, nothing counted twice.

The servers are Debian's, of 2018: what an append needs is the same in every version. Replication of a
modern cluster is not tested here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from clickmw.stores import _clickhouse_progress as progress
from clickmw.stores._clickhouse_http import Address, Client
from clickmw.stores._clickhouse_schema import statements, taken_tables
from tests.clickhouse_cluster import Node, Writer, running_cluster

pytestmark = pytest.mark.wide

WRITERS = 4
EVENTS = 3000
QUORUM = {"insert_quorum": "2"}
PATIENCE_S = 240.0


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[Node]]:
    with running_cluster(tmp_path) as found:
        yield found


def client_of(nodes: list[Node], first: int = 0) -> Client:
    ordered = nodes[first:] + nodes[:first]
    return Client(Address(tuple(("127.0.0.1", node.port) for node in ordered), "clicks"), {})


def found(node: Node) -> tuple[int, int, dict[str, int], dict[str, tuple[int, int]]]:
    """Return what one server has: events, rows when repeats are merged, ledger and watermarks."""
    with closing(client_of([node])) as client:
        rows = client.rows("SELECT uniqExact(event_id) AS ids, count() AS rows FROM raw FINAL")
        return *rows[0], progress.ledger(client), progress.as_pairs(progress.marks(client))


def wait_until_all_have_all(nodes: list[Node]) -> None:
    """Wait for the replicas that have fallen behind."""
    marks = {f"175000000000{n}-00000000aa": (EVENTS, EVENTS) for n in range(WRITERS)}
    wanted = (WRITERS * EVENTS, WRITERS * EVENTS, {"stored": WRITERS * EVENTS}, marks)
    until = time.monotonic() + PATIENCE_S
    while any(found(node) != wanted for node in nodes):
        assert time.monotonic() < until, [found(node) for node in nodes]
        time.sleep(0.2)


def test_a_server_that_is_killed_takes_nothing_with_it(nodes: list[Node]) -> None:
    for node in nodes:
        with closing(client_of([node])) as client:
            client.run("CREATE DATABASE IF NOT EXISTS clicks", database="default")
            replicated = replace(client.address, replicated=1)
            for statement in statements(replicated, taken_tables()):
                client.run(statement)
    writers = [Writer(client_of(nodes, n % 3), n, EVENTS, QUORUM) for n in range(WRITERS)]
    for writer in writers:
        writer.start()
    while sum(writer.acknowledged for writer in writers) < WRITERS * EVENTS // 3:
        assert any(writer.is_alive() for writer in writers)
        time.sleep(0.02)
    nodes[1].kill()
    for writer in writers:
        writer.join(PATIENCE_S)
    assert [writer.trouble for writer in writers] == [None] * WRITERS

    survivors = [nodes[0], nodes[2]]
    wait_until_all_have_all(survivors)
    # What was taken in comes once more, all of it in other cuts.
    with closing(client_of(survivors)) as client:
        for writer in writers:
            writer.client = client
            for start in range(0, EVENTS, 700):
                writer.send(writer.events[start : start + 700])
    nodes[1].start()
    wait_until_all_have_all(nodes)
