"""Tables that are spread over the shards of a cluster.

Each shard has a part of every table, and every server the whole under the plain name, a ``Distributed``
table: what reads or adds rows is said as to one server. What changes a table is said to each shard.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace

from clickmw.errors import StoreError
from clickmw.stores._clickhouse_http import (
    TIMEOUT_S,
    Address,
    Client,
    Unreachable,
    literal,
    read_rows,
)

SETTINGS = {
    # What was added has arrived at its shard, with the quorum that was asked for.
    "insert_distributed_sync": "1",
    # Else each shard would keep for itself what it reads from itself, wherever that belongs.
    "parallel_distributed_insert_select": "0",
    # What a question asks within another one is read from all shards, then sent to each.
    "distributed_product_mode": "global",
    "prefer_global_in_and_join": "1",
    # Of each shard the same replica, as long as it answers: it knows what was added through it.
    "load_balancing": "in_order",
}
FIND_SHARDS = """
-- One row per replica: its shard, the weight of that, and whether it is the server that is asked.
SELECT shard_num, shard_weight, is_local FROM system.clusters WHERE cluster = {cluster}
FORMAT TabSeparatedWithNamesAndTypes
"""


def connect(
    address: Address, settings: Mapping[str, str], *, timeout_s: float = TIMEOUT_S
) -> Client:
    """Return a client for one set of servers, or for a cluster if *address* names one."""
    kind = ShardedClient if address.cluster else Client
    return kind(address, settings, timeout_s=timeout_s)


def part_of(table: str) -> str:
    """Return what the part of a table is called that lies on one shard."""
    return f"{table}_local"


@dataclass
class Shard:
    """One shard, and which servers of the store's URL are its replicas."""

    weight: int
    hosts: list[tuple[str, int]] = field(default_factory=list)


class ShardedClient(Client):
    """Send statements to any server of a cluster, and what changes tables to one of each shard."""

    def __init__(
        self, address: Address, settings: Mapping[str, str], *, timeout_s: float = TIMEOUT_S
    ) -> None:
        super().__init__(address, {**settings, **SETTINGS}, timeout_s=timeout_s)
        self._parts: list[Client] = []

    def change(self, sql: str, *tables: str) -> None:
        """Run a statement that changes *tables* on each shard; their names go where its braces are."""
        parts = self._parts = self._parts or list(self._connect_each())
        names = [part_of(table) for table in tables]
        try:
            with ThreadPoolExecutor(len(parts)) as pool:
                list(pool.map(lambda part: part.change(sql, *names), parts))
        except Unreachable:
            self._forget_parts()  # the others of the URL may be back
            raise

    def layout(self) -> str:
        """Return the weights of the shards: where a row lies depends on them."""
        return " ".join(str(shard.weight) for shard in find_shards(self))

    def close(self) -> None:
        """Close all connections; the next statement opens a new one."""
        super().close()
        self._forget_parts()

    def _connect_each(self) -> Iterator[Client]:
        for shard in find_shards(self):
            address = replace(self.address, hosts=tuple(shard.hosts))
            yield Client(address, self.settings, timeout_s=self.timeout_s)

    def _forget_parts(self) -> None:
        parts, self._parts = self._parts, []
        for part in parts:
            part.close()


def find_shards(client: Client) -> list[Shard]:
    """Return the shards in their order, each with those servers of the URL that answer."""
    address = client.address
    found: dict[int, Shard] = {}
    silent: list[str] = []
    for host in address.hosts:
        one = Client(replace(address, hosts=(host,)), {}, timeout_s=client.timeout_s)
        with closing(one):
            try:
                replicas = _ask(one)
            except Unreachable:
                silent.append(str(one.address))
                continue
        for number, weight, is_asked in replicas:
            shard = found.setdefault(number, Shard(weight))
            if is_asked:
                shard.hosts.append(host)
    missing = [str(number) for number, shard in sorted(found.items()) if not shard.hosts]
    if missing or not found:
        raise Unreachable(
            f"no server of shard {', '.join(missing) or '1'} of cluster {address.cluster!r} can be reached:"
            f" {', '.join(silent) or 'none is named in store'}. Events wait in the journal. Name servers"
            " of every shard in store, with commas between them"
        )
    return [shard for _, shard in sorted(found.items())]


def _ask(one: Client) -> list[tuple[int, int, int]]:
    """Return the replicas of the cluster, as the server of *one* knows them."""
    name = one.address.cluster
    sql = FIND_SHARDS.format(cluster=literal(name))
    replicas = read_rows(one.run(sql, database="default"))[1]
    if not replicas:
        raise StoreError(
            f"ClickHouse at {one.address} knows no cluster {name!r}. Define it under remote_servers on"
            " every server, or leave cluster= out of store"
        )
    if not any(is_asked for *_, is_asked in replicas):
        raise StoreError(
            f"ClickHouse at {one.address} does not find itself in cluster {name!r}. Name it there under"
            " remote_servers, by an address and the tcp_port of its own and without a default_database"
        )
    if len(replicas) > len({number for number, *_ in replicas}) and not one.address.replicated:
        raise StoreError(
            f"cluster {name!r} has shards of several replicas, and nothing is replicated among them."
            " Add replicated=1 to store"
        )
    return replicas
