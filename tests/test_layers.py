"""Who may import whom: only downwards, floor by floor; the table is the map of the package."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
PACKAGE = CHECKOUT / "clickmw"

#: Lowest floor first. A pattern is a socket: a new file of that folder needs no line here.
FLOORS: tuple[tuple[str, str], ...] = (
    (
        "ground",
        "buckets caches clocks charts ending errors forks html_grammar module_codes paths queries robots sameness schemas spelling tables targets",
    ),
    ("values", "events rates rpc scanner sites tokens visitors wire wording zones"),
    ("contracts", "settings streaming stores.base stores._clickhouse_http"),
    (
        "rules",
        "counting discretion expectation guesses journal keeping metrics payloads rollups shares stores stores._clickhouse_numbers stores._clickhouse_shards stores._hosts stores._postgres_dialect stores._sqlite_dictionaries stores._sqlite_totals",
    ),
    ("services", "recorder drain keyring sharing stores._*"),
    (
        "events of a store",
        "stores._clickhouse_sums stores._postgres_hosts stores._sqlite_clicks stores._sqlite_said stores._sqlite_searches stores._sqlite_seen stores._sqlite_repeats stores._sqlite_returns stores._sqlite_reading stores._sqlite_drilldown_queries stores._sqlite_facts stores._sqlite_lists",
    ),
    (
        "intake of a store",
        "stores._clickhouse_queries stores._sqlite_intake stores._sqlite_check stores._sqlite_schema stores._sqlite_drilldowns stores._sqlite_backup",
    ),
    (
        "reader of a store",
        "stores._clickhouse_digests stores._clickhouse_scratch stores._clickhouse_upkeep stores._postgres_schema stores._sql_copy stores._sqlite_export stores._sqlite_panels stores._sqlite_rebuild stores._sqlite_prune stores._sqlite_erase",
    ),
    (
        "what a store of servers derives",
        "stores._clickhouse_refresh stores._clickhouse_copy stores._clickhouse_panels",
    ),
    ("what stores share", "stores._sql_store stores._clickhouse_erase"),
    ("evidence of the report", "episodes evidence"),
    ("comparison of the report", "skipping"),
    (
        "parts",
        "ad_urls aggregates assets diagnosis importing intake keeping headlines openapi pages findings remembering login filters panels pictures trial compat stores.* templates",
    ),
    ("plain panels of the report", "drilldowns lists tallies"),
    (
        "panels of the report",
        "problems curves facets query_page result_panels session_panels setting_up",
    ),
    ("catalog of the report", "catalog owner"),
    ("what the report is asked", "scenes"),
    ("what the report shows", "showing"),
    ("tools", "tools"),
    ("stations", "rewrite redirect beacon endpoints health mcp report compat.*"),
    ("map", "routes"),
    ("door", "middleware simulate terminal"),
    ("install", "demo doctor erasing access_logs"),
    ("console", "console"),
    ("commands", "commands_*"),
    ("command line", "cli"),
    ("install of a framework", "django.install"),
    ("faces of a framework", "django.middleware django.checks"),
    ("names that a framework looks for", "django django.*"),
    ("address book of a framework", "django.urls"),
    ("start", "__main__"),
)
STATIONS = dict(FLOORS)["stations"].split()

#: Imports that break a floor and are known: each line is a debt, with the way to pay it.
KNOWN: dict[tuple[str, str], str] = {}


def module_name(path: Path) -> str:
    """Return ``stores.base`` for ``clickmw/stores/base.py``; "" for the package itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def floor_of(name: str) -> int | None:
    """Return the number of the floor of a module; a pattern gives way to a name and a longer pattern."""
    found = [
        (pattern == name, len(pattern), number)
        for number, (_title, patterns) in enumerate(FLOORS)
        for pattern in patterns.split()
        if fnmatch(name, pattern)
    ]
    return max(found)[2] if found else None


def imported_names(path: Path) -> Iterator[str]:
    """Yield the dotted name of everything *path* imports, in functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write the import in full"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_modules(path: Path) -> set[str]:
    """Return our modules that *path* imports; "" stands for a name of the package itself."""
    found = set()
    for name in imported_names(path):
        head, _, rest = name.partition(".")
        if head == "clickmw":
            found.add(rest if rest in MODULES else rest.rpartition(".")[0])
    return found


IMPORTS = {name: imported_modules(path) for name, path in MODULES.items() if name}


def not_below(importer: str, imported: str) -> bool:
    above, below = floor_of(importer), floor_of(imported)
    return above is None or below is None or below >= above


def test_every_module_has_a_floor() -> None:
    assert [name for name in MODULES if name and floor_of(name) is None] == []


def test_every_name_of_the_table_is_a_module() -> None:
    names = [name for _title, names in FLOORS for name in names.split() if "*" not in name]
    assert [name for name in names if name not in MODULES] == []


def test_imports_go_downwards_only() -> None:
    wrong = {
        (importer, imported)
        for importer, names in IMPORTS.items()
        for imported in names
        if imported and not_below(importer, imported)
    }
    assert wrong - set(KNOWN) == set()


def test_no_known_debt_is_already_paid() -> None:
    assert [pair for pair in KNOWN if pair[1] not in IMPORTS[pair[0]]] == []


def test_modules_take_nothing_but_the_version_from_the_package_itself() -> None:
    taken = {
        (module, name)
        for module, path in MODULES.items()
        for name in imported_names(path)
        if module and name.startswith("clickmw.") and name.count(".") == 1
        if name.removeprefix("clickmw.") not in MODULES
    }
    assert {name for _module, name in taken} <= {"clickmw.__version__"}


@pytest.mark.parametrize("name", [n for n in MODULES if any(fnmatch(n, s) for s in STATIONS)])
def test_a_station_knows_the_contract_of_stores_and_no_store(name: str) -> None:
    stores = {found for found in IMPORTS[name] if found.split(".")[0] == "stores"}
    assert stores <= {"stores.base"}


def test_only_a_store_itself_imports_its_parts() -> None:
    importers = {
        importer
        for importer, names in IMPORTS.items()
        if any(name.startswith("stores._") or name == "stores.sqlite" for name in names)
    }
    stores = ("stores.sqlite", "stores.postgresql", "stores.clickhouse", "stores._")
    assert all(name.startswith(stores) for name in importers)


def test_protocols_do_not_know_each_other() -> None:
    for importer, names in IMPORTS.items():
        if importer.startswith("compat."):
            assert not [name for name in names if name.startswith("compat.")], importer


def test_a_framework_is_imported_in_its_own_folder_only() -> None:
    tops = {
        (name.split(".")[0], module.split(".")[0])
        for module, path in MODULES.items()
        for name in imported_names(path)
    }
    assert {(top, where) for top, where in tops if top in {"flask", "django", "asgiref"}} == {
        ("django", "django"),
        ("asgiref", "django"),
    }


def test_the_demo_site_knows_nothing_of_clickmw() -> None:
    site = CHECKOUT / "examples" / "pydocs_search"
    sources = [ast.parse(path.read_text(encoding="utf-8")) for path in site.glob("*.py")]
    nodes = [node for source in sources for node in ast.walk(source)]
    names = [a.name for node in nodes if isinstance(node, ast.Import) for a in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    assert [name for name in names if name.startswith("clickmw")] == []


FOREIGN_REQUEST = """
import sys
from clickmw import ClickMW

def host(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]

application = ClickMW(host, secret="s" * 32, store=f"sqlite:///{sys.argv[1]}/clicks.db")
environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_HOST": "localhost"}
assert b"".join(application(environ, lambda *_: None)) == b"hello"
print(*sorted({"werkzeug", "jinja2", "click", "sqlite_utils"} & set(sys.modules)))
"""


def test_a_request_that_is_not_ours_loads_no_library_of_the_report(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FOREIGN_REQUEST, str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=CHECKOUT)
    assert (ran.stdout.split(), ran.stderr) == ([], "")


BREAKS = {
    "upward": ("errors", "from clickmw.recorder import Recorder", "recorder"),
    "same floor": ("redirect", "from clickmw import rewrite", "rewrite"),
    "in a function": ("tokens", "def f():\n    import clickmw.cli", "cli"),
    "only for types": ("events", "if TYPE_CHECKING:\n    from clickmw.drain import Drain", "drain"),
}


@pytest.mark.parametrize(("importer", "source", "imported"), BREAKS.values(), ids=BREAKS)
def test_the_walk_sees_an_import_that_breaks_a_floor(
    importer: str, source: str, imported: str, tmp_path: Path
) -> None:
    path = tmp_path / "broken.py"
    path.write_text(source)
    assert imported_modules(path) == {imported}
    assert not_below(importer, imported)
