"""ClickHouse for the tests: the real engine, started on a free port and ended with them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from secrets import token_hex

import pytest

from clickmw.stores import open_store
from clickmw.stores.clickhouse import ClickHouseStore
from clickmw.stores.sqlite import SQLiteStore

ENGINE = Path(__file__).with_name("clickhouse_engine.py")
#: Where the Makefile puts the engine.
HOME = Path(sys.prefix) / "clickhouse"


@contextlib.contextmanager
def running_engine(*shards: int) -> Iterator[str]:
    """Start the engine, with a cluster of so many shards if wanted; lend the beginning of a store's URL, to which the name of a database belongs."""
    if not (HOME / "chdb").is_dir():
        why = f"no ClickHouse engine: pip install --target {HOME} chdb-core-lite"
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must have the engine ({why})")
        pytest.skip(why)
    # Thousands of small files: in memory where the other databases of the run are.
    place = os.environ.get("PYTEST_DEBUG_TEMPROOT")
    with tempfile.TemporaryDirectory(
        prefix="clickhouse", dir=place, ignore_cleanup_errors=True
    ) as folder:
        command = [sys.executable, str(ENGINE), folder, *map(str, shards)]
        environment = {**os.environ, "PYTHONPATH": str(HOME)}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            yield f"clickhouse+http://127.0.0.1:{port}/"
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


@pytest.fixture(scope="session")
def clickhouse_engine() -> Iterator[str]:
    """The beginning of the URL of the ClickHouse stores of this run that have one server."""
    with running_engine() as url:
        yield url


@pytest.fixture
def lone_clickhouse_url(clickhouse_engine: str) -> str:
    """The URL of a store on one server that has nothing in it."""
    return f"{clickhouse_engine}test_{token_hex(6)}"


@pytest.fixture(scope="session")
def clickhouse_cluster() -> Iterator[str]:
    """The same of those that have two shards."""
    with running_engine(2) as url:
        yield url


@pytest.fixture(scope="session", params=["one", "shards"])
def clickhouse_servers(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Return the URL of a store whose database is called so: on one server, or on two shards."""
    if request.param == "one":
        engine = request.getfixturevalue("clickhouse_engine")
        return lambda name: f"{engine}{name}"
    cluster = request.getfixturevalue("clickhouse_cluster")
    return lambda name: f"{cluster}{name}?cluster=shards"


@pytest.fixture
def clickhouse_url(clickhouse_servers: Callable[[str], str]) -> str:
    """The URL of a ClickHouse store that has nothing in it; each test runs on one server and on shards."""
    return clickhouse_servers(f"test_{token_hex(6)}")


@pytest.fixture
def house(request: pytest.FixtureRequest, clickhouse_url: str) -> Iterator[ClickHouseStore]:
    """A ClickHouse store with the ``OPTIONS`` of the test's module."""
    with closing(open_store(clickhouse_url, request.module.OPTIONS)) as store:
        store.migrate()
        assert isinstance(store, ClickHouseStore)
        yield store


@pytest.fixture
def lite(
    request: pytest.FixtureRequest, new_store: Callable[..., SQLiteStore]
) -> Iterator[SQLiteStore]:
    """A SQLite store with the same sites."""
    given = request.module.OPTIONS
    with closing(new_store(sites=given.sites, site_zones=given.site_zones)) as store:
        yield store
