"""Old ClickHouse servers (Debian's) with ZooKeeper, on free ports of the loopback interface.

They have what an append needs: replication, quorums, and nothing of newer SQL.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from clickmw.errors import StoreError
from clickmw.events import Click
from clickmw.journal import event_id_prefix
from clickmw.stores import _clickhouse_progress as progress
from clickmw.stores._clickhouse_http import Client
from clickmw.stores._clickhouse_progress import Step
from clickmw.stores._clickhouse_raw import ADD_RAW, encode
from clickmw.stores.base import Record, Stored

ZOOKEEPER = Path("/usr/share/java/zookeeper.jar")
PATIENCE_S = 120.0
START_MS = 1_750_000_000_000
VISITORS = 60

SERVER = """<yandex>
  <logger><level>warning</level><log>{folder}/server.log</log><errorlog>{folder}/error.log</errorlog></logger>
  <listen_host>127.0.0.1</listen_host>
  <http_port>{http}</http_port><tcp_port>{tcp}</tcp_port>
  <interserver_http_port>{inter}</interserver_http_port><interserver_http_host>127.0.0.1</interserver_http_host>
  <path>{folder}/data/</path><tmp_path>{folder}/tmp/</tmp_path>
  <user_files_path>{folder}/files/</user_files_path>
  <mark_cache_size>67108864</mark_cache_size><max_concurrent_queries>50</max_concurrent_queries>
  <users_config>{folder}/users.xml</users_config><default_profile>default</default_profile>
  <default_database>default</default_database>
  <zookeeper><node><host>127.0.0.1</host><port>{keeper}</port></node>
    <session_timeout_ms>4000</session_timeout_ms></zookeeper>
  <macros><shard>{shard}</shard><replica>r{number}</replica></macros>
  <remote_servers><shards>{cluster}</shards></remote_servers>
</yandex>
"""
USERS = """<yandex>
  <profiles><default><max_memory_usage>1000000000</max_memory_usage><load_balancing>random</load_balancing></default></profiles>
  <users><default><password></password><networks><ip>127.0.0.1</ip></networks>
    <profile>default</profile><quota>default</quota></default></users>
  <quotas><default/></quotas>
</yandex>
"""


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@dataclass
class Node:
    """One server: started, killed and started again by the test."""

    folder: Path
    port: int
    #: Which shard it has, counted from 1.
    shard: int = 1
    process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> None:
        """Start the server and wait until it answers."""
        command = ["clickhouse-server", f"--config-file={self.folder}/config.xml"]
        log = (self.folder / "output.log").open("ab")
        with log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        wait_for_port(self.port)

    def kill(self) -> None:
        """End the server as a power cut would, but for the disk's cache."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        self.process = None


def wait_for_port(port: int) -> None:
    """Return as soon as somebody listens on *port*."""
    until = time.monotonic() + PATIENCE_S
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return
        assert time.monotonic() < until, f"nobody listens on port {port}"
        time.sleep(0.05)


@contextlib.contextmanager
def running_cluster(folder: Path, shards: int = 1, servers: int = 3) -> Iterator[list[Node]]:
    """Start ZooKeeper and the servers of as many shards; they are ended with the test."""
    if shutil.which("clickhouse-server") is None or not ZOOKEEPER.exists():
        why = "no servers (Debian: apt-get install clickhouse-server zookeeper)"
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must have them, .ci/run installs them: {why}")
        pytest.skip(why)
    keeper, *ports = free_ports(1 + 3 * servers)
    cluster = _cluster(ports[servers : 2 * servers], shards)
    nodes: list[Node] = []
    with _zookeeper(folder / "keeper", keeper):
        try:
            for number in range(servers):
                said = {"number": number, "shard": number % shards + 1, "cluster": cluster}
                own = ports[number::servers]
                nodes.append(_node(folder / f"node{number}", keeper, own, said))
                nodes[-1].start()
            yield nodes
        finally:
            for node in nodes:
                node.kill()


def _cluster(ports: list[int], shards: int) -> str:
    """Return what the servers, which listen on *ports*, know of each other."""
    said = ""
    for shard in range(shards):
        replicas = "".join(
            f"<replica><host>127.0.0.1</host><port>{port}</port></replica>"
            for port in ports[shard::shards]
        )
        said += f"<shard><internal_replication>true</internal_replication>{replicas}</shard>"
    return said


def _node(folder: Path, keeper: int, ports: list[int], said: dict[str, Any]) -> Node:
    for name in ("data", "tmp", "files"):
        (folder / name).mkdir(parents=True)
    http, tcp, inter = ports
    listens = {"folder": folder, "http": http, "tcp": tcp, "inter": inter}
    (folder / "config.xml").write_text(SERVER.format(keeper=keeper, **listens, **said))
    (folder / "users.xml").write_text(USERS)
    return Node(folder, http, said["shard"])


@contextlib.contextmanager
def _zookeeper(folder: Path, port: int) -> Iterator[None]:
    (folder / "data").mkdir(parents=True)
    settings = f"tickTime=1000\ndataDir={folder}/data\nclientPort={port}\n"
    settings += "clientPortAddress=127.0.0.1\nadmin.enableServer=false\n"
    (folder / "zoo.cfg").write_text(settings)
    main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
    command = ["java", "-Xmx256m", "-cp", str(ZOOKEEPER), main, str(folder / "zoo.cfg")]
    with (folder / "output.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        wait_for_port(port)
        _wait_for_keeper(port)
        yield
    finally:
        process.kill()
        process.wait()


def _wait_for_keeper(port: int) -> None:
    """Return as soon as ZooKeeper does more than listen."""
    until = time.monotonic() + PATIENCE_S
    while True:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", port), 5.0) as asking,
        ):
            asking.sendall(b"srvr")
            if b"Mode: standalone" in asking.makefile("rb").read():
                return
        assert time.monotonic() < until, "ZooKeeper does not begin"
        time.sleep(0.1)


class Writer(threading.Thread):
    """A host that takes in its segment in cuts of any size, and again what nobody has confirmed."""

    def __init__(
        self, client: Client, number: int, events: int, durable: Mapping[str, str]
    ) -> None:
        super().__init__()
        self.client = client
        self.durable = durable
        self.segment = f"175000000000{number}-00000000aa"
        self.chance = random.Random(number)
        prefix = event_id_prefix(self.segment)
        self.events = [
            Stored(
                prefix + n.to_bytes(4) + b"\0",
                Click(START_MS + n * 1000, "a", f"/{n}", visitor=f"{n % VISITORS:016x}"),
            )
            for n in range(events)
        ]
        self.acknowledged = 0
        self.refused = 0
        self.trouble: BaseException | None = None

    def run(self) -> None:
        """Take in all that there is."""
        count = len(self.events)
        try:
            until = time.monotonic() + 2 * PATIENCE_S
            while self.acknowledged < count:
                assert time.monotonic() < until, "it takes too long"
                try:
                    self.append(self.acknowledged, self.chance.randrange(count // 75, count // 10))
                except StoreError:
                    self.refused += 1
                    time.sleep(0.1)
        except BaseException as error:
            self.trouble = error
        finally:
            self.client.close()

    def append(self, start: int, count: int) -> None:
        """Take in some events, and say so in the segment's progress."""
        cut = self.events[start : start + count]
        end = start + len(cut)
        self.send(cut)
        step = Step(start, end, end, 0, {"stored": len(cut)})
        progress.add_step(self.client, self.segment, step, settings=self.durable)
        self.acknowledged = max(self.acknowledged, end)

    def send(self, cut: Sequence[Stored]) -> None:
        """Add events, whether they are there already or not."""
        record = Record(0, 0, 0, tuple(cut), {})
        self.client.run(ADD_RAW, encode([record]), **self.durable)
