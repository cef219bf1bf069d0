"""The table of faults in the documentation, made from the tests: ``python tests/faults/table.py``."""

from __future__ import annotations

import ast
import re
from pathlib import Path

FOLDER = Path(__file__).parent
PAGE = FOLDER.parents[1] / "docs" / "reference" / "faults.md"
BEGIN, END = "<!-- made by tests/faults/table.py -->\n", "<!-- the end of what is made -->\n"
IDS = [f"F-{number:02}" for number in range(1, 27)]
#: Kind of store → its name.
KINDS = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "clickhouse": "ClickHouse"}
#: Fixture or mark → where its tests run.
WHERE = {
    "tmpfs": "root on Linux",
    "power_disk": "root on Linux",
    "root": "root on Linux",
    "strace": "root on Linux",
    "fake_time": "where libfaketime is",
}


def files() -> dict[str, list[Path]]:
    """Return the id of each fault with the files of its tests."""
    found: dict[str, list[Path]] = {}
    for path in sorted(FOLDER.glob("test_f*.py")):
        found.setdefault(f"F-{path.stem[6:8]}", []).append(path)
    return found


def tests_of(path: Path) -> list[ast.FunctionDef]:
    """Return the test functions of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]


def stores_of(path: Path) -> list[str]:
    """Return the kinds of store that the tests of a file run on."""
    found = re.search(r"^STORES = (.*)$", path.read_text(encoding="utf-8"), re.M)
    return list(ast.literal_eval(found[1])) if found else ["sqlite"]


def missing_on(path: Path) -> dict[str, str]:
    """Return kind of store → why the tests of a file do not run on it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "NOT_ON":
            if isinstance(node.value, ast.Call):  # dict.fromkeys(kinds, why)
                kinds, why = map(ast.literal_eval, node.value.args)
                return dict.fromkeys(kinds, why)
            return dict(ast.literal_eval(node.value))
    return {}


def result_of(paths: list[Path]) -> str:
    """Return which stores a fault was brought about on, and why not on the others."""
    found = {kind for path in paths for kind in stores_of(path)}
    held = f"held: {', '.join(name for kind, name in KINDS.items() if kind in found)}"
    reasons: dict[str, list[str]] = {}
    for path in paths:
        for kind, why in missing_on(path).items():
            reasons.setdefault(why, []).append(KINDS[kind])
    return ". ".join(
        [held, *(f"Not {' and '.join(names)}: {why}" for why, names in reasons.items())]
    )


def row(fault: str, paths: list[Path]) -> str:
    """Return a fault's row: what happens, what holds, which tests say so, and where they run."""
    docstring = ast.get_docstring(ast.parse(paths[0].read_text(encoding="utf-8"))) or ""
    title, _, rest = docstring.partition("\n\n")
    happens = " ".join(title.split()).removeprefix(f"{fault}: ").rstrip(".")
    holds = " ".join(rest.split("\n\n")[0].split())
    tests = [test for path in paths for test in tests_of(path)]
    needed = {WHERE[arg.arg] for test in tests for arg in test.args.args if arg.arg in WHERE}
    alone = [test for test in tests if not {arg.arg for arg in test.args.args} & WHERE.keys()]
    where = ", ".join((["everywhere"] if alone else []) + sorted(needed))
    happens, holds = (text.replace("``", "`") for text in (happens, holds))
    names = ", ".join(f"`{path.name}`" for path in paths)
    return (
        f"| {fault} | {happens} | {holds} | {names} ({len(tests)}) | {where} | {result_of(paths)} |"
    )


def table() -> str:
    """Return the whole table."""
    head = (
        "| Fault | What happens | What holds | Tests | Run | Result |\n|---|---|---|---|---|---|\n"
    )
    return head + "".join(row(fault, paths) + "\n" for fault, paths in sorted(files().items()))


def page(text: str) -> str:
    """Return the page *text* with the table as it is now."""
    made = BEGIN + "\n" + table() + "\n" + END
    return re.sub(re.escape(BEGIN) + ".*" + re.escape(END), lambda _found: made, text, flags=re.S)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
