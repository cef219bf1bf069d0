"""Shards on servers of their own: what lies where, and what is found again, whoever is killed meanwhile.

The servers are Debian's, of 2018. They have what places rows and sends statements to all shards; what the
report asks is in words that they do not know, and is asked of the modern engine (``test_clickhouse``).
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from clickmw.errors import StoreError
from clickmw.stores import _clickhouse_progress as progress
from clickmw.stores import _clickhouse_refresh as refresh
from clickmw.stores._clickhouse_http import Address
from clickmw.stores._clickhouse_refresh import Refresh
from clickmw.stores._clickhouse_schema import statements, tables
from clickmw.stores._clickhouse_shards import ShardedClient
from clickmw.stores.base import StoreOptions
from tests.clickhouse_cluster import VISITORS, Node, Writer, running_cluster

pytestmark = pytest.mark.wide

WRITERS = 4
EVENTS = 1500
PATIENCE_S = 240.0
#: What these servers can have of our tables.
KNOWN = {"raw", "segment", "link", "derived", "aside", "day_host", "day_host_staging"}
#: What they cannot: settings in a statement, and the one that makes each IN a GLOBAL IN.
TOO_NEW = re.compile(r"SETTINGS final = 0.*")
PLAIN_IN = re.compile(r"(NOT )?IN (?=\(SELECT)")


class OldClient(ShardedClient):
    """A client that says in old words what our statements and settings say."""

    def __init__(self, address: Address) -> None:
        super().__init__(address, {})
        old = {"insert_distributed_sync", "distributed_product_mode", "load_balancing"}
        self.settings = {name: value for name, value in self.settings.items() if name in old}

    def run(self, sql: str, body: bytes = b"", **settings: Any) -> bytes:
        if "distributed_product_mode = 'local'" in sql:
            settings["distributed_product_mode"] = "local"
        else:
            sql = PLAIN_IN.sub(r"GLOBAL \1IN ", sql)
        # An alias that is called like its column is taken for it there.
        sql = sql.replace("max(inserted) AS inserted", "max(inserted) AS latest")
        return super().run(TOO_NEW.sub("", sql), body, **settings)


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[Node]]:
    """Three servers, each of them a shard."""
    with running_cluster(tmp_path, shards=3) as found:
        make_tables(found)
        yield found


@pytest.fixture
def pairs(tmp_path: Path) -> Iterator[list[Node]]:
    """Four servers, of two shards with two replicas each."""
    with running_cluster(tmp_path, shards=2, servers=4) as found:
        make_tables(found, replicated=1)
        yield found


def make_tables(nodes: list[Node], **more: int) -> None:
    """Make those tables that the servers can have."""
    made = [table for table in tables() if table.name in KNOWN]
    for node in nodes:
        with closing(client_of([node], **more)) as client:
            client.run("CREATE DATABASE IF NOT EXISTS clicks", database="default")
            for statement in statements(client.address, made):
                client.run(statement)


def client_of(nodes: list[Node], first: int = 0, **more: Any) -> OldClient:
    ordered = nodes[first:] + nodes[:first]
    hosts = tuple(("127.0.0.1", node.port) for node in ordered)
    return OldClient(Address(hosts, "clicks", cluster="shards", **more))


def parts(nodes: list[Node], sql: str) -> list[Any]:
    """Return what each server says of its own part."""
    found = []
    for node in nodes:
        with closing(client_of([node])) as client:
            found.append(client.rows(sql))
    return found


def test_what_is_sent_while_a_shard_is_killed_and_sent_again_is_there_once_and_on_its_shard(
    nodes: list[Node],
) -> None:
    writers = send_while_one_is_killed(nodes, {})
    wait_until_all_know_all(nodes, writers)
    assert_each_has_its_own(nodes, 3)


@pytest.mark.long
def test_replicas_of_shards_have_what_a_quorum_has_confirmed(pairs: list[Node]) -> None:
    writers = send_while_one_is_killed(pairs, {"insert_quorum": "2"})
    for replicas in (pairs[:2], pairs[2:]):  # one of each shard, then the other ones
        wait_until_all_have(replicas, WRITERS * EVENTS)
        assert_each_has_its_own(replicas, 2)
    wait_until_all_know_all(pairs, writers)


def send_while_one_is_killed(nodes: list[Node], durable: dict[str, str]) -> list[Writer]:
    """Take in all that the writers have, with a server killed meanwhile, and then once more."""
    writers = [
        Writer(client_of(nodes, number % len(nodes)), number, EVENTS, durable)
        for number in range(WRITERS)
    ]
    for writer in writers:
        writer.start()
    wait_for(lambda: sum(writer.acknowledged for writer in writers) > WRITERS * EVENTS // 3)
    nodes[1].kill()
    # Each append has rows for its shard: all of them wait.
    wait_for(lambda: all(writer.refused > 2 for writer in writers if writer.is_alive()))
    nodes[1].start()
    for writer in writers:
        writer.join(PATIENCE_S)
    assert [writer.trouble for writer in writers] == [None] * WRITERS
    assert any(writer.refused for writer in writers)
    with closing(client_of(nodes, 2)) as client:
        for writer in writers:
            writer.client = client
            for start in range(0, EVENTS, 350):
                writer.append(start, 350)
    return writers


def wait_until_all_know_all(nodes: list[Node], writers: list[Writer]) -> None:
    """Wait until whichever server is asked has everything once."""
    wanted = WRITERS * EVENTS
    marks = {writer.segment: (EVENTS, EVENTS) for writer in writers}
    for node in nodes:
        with closing(client_of([node])) as client:
            sql = "SELECT uniqExact(event_id), count() FROM raw FINAL"
            wait_for(lambda: client.rows(sql) == [(wanted, wanted)])  # noqa: B023
            wait_for(lambda: progress.ledger(client) == {"stored": wanted})
            assert progress.as_pairs(progress.marks(client)) == marks


def wait_until_all_have(nodes: list[Node], count: int) -> None:
    """Wait for replicas that have fallen behind: these servers have *count* events together."""
    own = "SELECT count() FROM raw_local FINAL"
    wait_for(lambda: sum(rows[0][0] for rows in parts(nodes, own)) == count)


def assert_each_has_its_own(nodes: list[Node], shards: int) -> None:
    """Each event lies on its shard, and no shard has everything."""
    place = f"sipHash64(event_id) % {shards} + 1"
    lies = parts(nodes, f"SELECT uniqExact({place}), min({place}), count() FROM raw_local FINAL")
    assert [rows[0][:2] for rows in lies] == [(1, node.shard) for node in nodes]
    assert sum(rows[0][2] for rows in lies) == WRITERS * EVENTS
    assert max(rows[0][2] for rows in lies) < 1.2 * WRITERS * EVENTS / shards


def wait_for(is_so: Any) -> None:
    until = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < until, "it takes too long"
        time.sleep(0.02)


def test_what_has_to_do_with_an_event_is_found_on_whatever_shard_it_lies(nodes: list[Node]) -> None:
    run = "run_1"
    with closing(client_of(nodes)) as client:
        writer = Writer(client, 0, EVENTS, {})
        writer.append(0, EVENTS)
        found = Refresh(client, StoreOptions())
        found._do(refresh.FIND_NEW, run, since=0, round=EVENTS, apart=refresh.APART)
        assert client.value(f"SELECT count() FROM {run}_new") == EVENTS
        found._do(refresh.ADD_LINKS, run)
        around = found.around([writer.events[7].event_id])
        assert around == writer.events[7::VISITORS]
        # What is derived is not new any more.
        found._do(refresh.DONE.replace("inserted", "latest"), run)
        again = "run_2"
        found._do(refresh.FIND_NEW, again, since=0, round=EVENTS, apart=refresh.APART)
        assert client.value(f"SELECT count() FROM {again}_new") == 0
    for table in ("link_local", "derived_local"):
        place = parts(nodes, f"SELECT DISTINCT sipHash64(event_id) % 3 + 1 FROM {table}")
        assert place == [[(1,)], [(2,)], [(3,)]]


def swap_windows(client: OldClient, clicks: int) -> None:
    """Make the sums of six windows aside and swap them in."""
    windows = range(20_250, 20_256)
    client.change("TRUNCATE TABLE {}", "day_host_staging")
    for window in windows:
        row = f"{window}, 1, {window}, 1, 1, {clicks}"
        client.run(f"INSERT INTO day_host_staging SELECT {row}")
    for window in windows:
        swap = f"ALTER TABLE {{}} REPLACE PARTITION {window} FROM {{}}"
        client.change(swap, "day_host", "day_host_staging")


@pytest.mark.long
def test_a_replica_swaps_in_what_another_one_was_given(pairs: list[Node]) -> None:
    everything = "SELECT count(), sum(clicks) FROM day_host"
    for clicks, first in ((5, 0), (7, 2), (9, 3)):
        with closing(client_of(pairs, first, replicated=1)) as client:
            swap_windows(client, clicks)
        for node in pairs:
            with closing(client_of([node])) as one:
                wait_for(lambda: one.rows(everything) == [(6, 6 * clicks)])  # noqa: B023


def test_a_window_lies_on_one_shard_and_is_swapped_there(nodes: list[Node]) -> None:
    with closing(client_of(nodes)) as client:
        for clicks in (5, 7):
            swap_windows(client, clicks)
        assert client.rows("SELECT count(), sum(clicks) FROM day_host") == [(6, 42)]
    lies = parts(
        nodes, "SELECT DISTINCT window % 3 + 1, count() FROM day_host_local GROUP BY window"
    )
    assert lies == [[(1, 1)], [(2, 1)], [(3, 1)]]


def test_servers_that_are_away_are_asked_again(nodes: list[Node]) -> None:
    with closing(client_of(nodes)) as client:
        assert client.layout() == "1 1 1"
        nodes[2].kill()
        with pytest.raises(StoreError, match="no server of shard 3 of cluster 'shards'"):
            client.change("TRUNCATE TABLE {}", "day_host_staging")
        nodes[2].start()
        client.change("TRUNCATE TABLE {}", "day_host_staging")
