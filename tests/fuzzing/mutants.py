"""Change a module one place at a time; a test must notice. What none notices is printed.

``python tests/fuzzing/mutants.py [name …] [--jobs 2] [--every 1]``: without names all of MODULES. Each
mutant is a forked process that loads the changed module and runs the module's tests until one fails.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib.abc
import importlib.machinery
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

CHECKOUT = Path(__file__).resolve().parents[2]
PATIENCE_S = 240


class Subject(NamedTuple):
    """A module, its functions that are changed (all without names), and the tests that must notice."""

    module: str
    tests: tuple[str, ...]
    functions: tuple[str, ...] = ()
    #: Whether the tests need what tests/conftest.py gives.
    conftest: bool = True


#: What keeps strangers out, and the rule that says what counts.
MODULES = {
    "tokens": Subject("clickmw.tokens", ("tests/test_tokens.py",), conftest=False),
    "targets": Subject(
        "clickmw.targets", ("tests/test_targets.py", "tests/threats/test_urls.py"), conftest=False
    ),
    "csv": Subject("clickmw.tables", ("tests/test_tables.py",), conftest=False),
    "duplicates": Subject(
        "clickmw.counting",
        ("tests/test_counting.py", "tests/test_repeats.py"),
        ("decide_clicks", "chains"),
    ),
    "csrf": Subject(
        "clickmw.login", ("tests/test_login.py",), ("is_same_origin", "_same", "_unsign", "_cookie")
    ),
    "guesses": Subject("clickmw.guesses", ("tests/test_guesses.py",), conftest=False),
    "buckets": Subject("clickmw.buckets", ("tests/test_buckets.py",), conftest=False),
    "keys": Subject("clickmw.keyring", ("tests/test_keyring.py", "tests/test_keys.py")),
}
COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
REPLACED: dict[type[Any], type[Any]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Mod: ast.Mult, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
    ast.RShift: ast.LShift, ast.LShift: ast.RShift, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


class Mutant(NamedTuple):
    """One change: in which line, what it is, and the module's source with it."""

    line: int
    what: str
    source: str


class Places(ast.NodeVisitor):
    """The nodes that can be changed; not those of annotations, decorators, docstrings and error texts."""

    def __init__(self, functions: tuple[str, ...]) -> None:
        self.functions = functions
        self.found: list[ast.AST] = []
        self._inside = not functions

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        before, self._inside = self._inside, self._inside or node.name in self.functions
        for default in (*node.args.defaults, *filter(None, node.args.kw_defaults)):
            self.visit(default)
        for statement in node.body:
            self.visit(statement)
        self._inside = before

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):
            self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        """What an error says is for people: no test is asked to know it by heart."""

    def generic_visit(self, node: ast.AST) -> None:
        if self._inside and list(_changes(node)):
            self.found.append(node)
        super().generic_visit(node)


def _changes(node: ast.AST) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what could be changed of *node*: a few words, and the fields it has then."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARED:
        yield "comparison", {"ops": [COMPARED[type(node.ops[0])](), *node.ops[1:]]}
    elif isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign) and type(node.op) in REPLACED:
        yield "operator", {"op": REPLACED[type(node.op)]()}
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield "truth", {"value": not node.value}
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        yield "number", {"value": node.value + 1}
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value:
        yield "text", {"value": node.value[:-1]}
    elif isinstance(node, ast.If | ast.IfExp | ast.comprehension | ast.While) and not isinstance(
        node, ast.comprehension
    ):
        yield "never", {"test": ast.Constant(False)}
        if not isinstance(node, ast.While):
            yield "always", {"test": ast.Constant(True)}
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield (
            "not",
            {
                "op": ast.UAdd(),
                "operand": ast.Call(ast.Name("bool", ast.Load()), [node.operand], []),
            },
        )
    elif isinstance(node, ast.Return) and node.value is not None:
        is_none = isinstance(node.value, ast.Constant) and node.value.value is None
        if not is_none:
            yield "returns None", {"value": ast.Constant(None)}


def mutants(subject: Subject, path: Path) -> Iterator[Mutant]:
    """Yield the module with one change after the other."""
    tree = ast.parse(path.read_text("utf-8"))
    places = Places(subject.functions)
    places.visit(tree)
    for node in places.found:
        for what, fields in _changes(node):
            kept = {name: getattr(node, name) for name in fields}
            for name, value in fields.items():
                setattr(node, name, value)
            changed = ast.unparse(ast.fix_missing_locations(copy.deepcopy(tree)))
            for name, value in kept.items():
                setattr(node, name, value)
            yield Mutant(getattr(node, "lineno", 0), f"{what}: {ast.unparse(node)[:70]!r}", changed)


class Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Load the module *name* from *source*."""

    def __init__(self, name: str, source: str) -> None:
        self.name, self.source = name, source

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        return importlib.machinery.ModuleSpec(name, self) if name == self.name else None

    def exec_module(self, module: ModuleType) -> None:
        path = CHECKOUT / (self.name.replace(".", "/") + ".py")
        module.__file__ = str(path)
        exec(compile(self.source, str(path), "exec"), module.__dict__)


def run_tests(subject: Subject, source: str | None) -> int:
    """Run the tests in a forked child; return its process id."""
    child = os.fork()
    if child:
        return child
    os.setpgid(0, 0)
    signal.alarm(PATIENCE_S)  # a change may make a loop without an end
    null = os.open(os.devnull, os.O_WRONLY)
    if source is not None:
        sys.meta_path.insert(0, Changed(subject.module, source))
        for descriptor in (1, 2):
            os.dup2(null, descriptor)
    import pytest

    tests = [test for test in subject.tests if (CHECKOUT / test).exists()]
    options = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not long and not wide", "--no-header"]
    options += ["-W", "ignore:Module already imported"]
    options += [] if subject.conftest else ["--noconftest"]
    code = int(pytest.main([*tests, *options]))
    os._exit(0 if code == 0 else 1)


def survivors(name: str, jobs: int, every: int) -> tuple[int, list[Mutant]]:
    """Return how many changes were made of a module, and those that no test noticed."""
    subject = MODULES[name]
    path = CHECKOUT / (subject.module.replace(".", "/") + ".py")
    made = list(mutants(subject, path))[::every]
    unchanged = ast.unparse(ast.parse(path.read_text("utf-8")))
    _, status = os.waitpid(run_tests(subject, unchanged), 0)
    if status:
        raise SystemExit(f"{name}: the tests fail without any change")
    waiting, running, left = made[::-1], {}, []
    while waiting or running:
        while waiting and len(running) < jobs:
            mutant = waiting.pop()
            running[run_tests(subject, mutant.source)] = mutant
        child, status = os.wait()
        mutant = running.pop(child)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:
            left.append(mutant)
            print(f"  {name} line {mutant.line}: {mutant.what}", flush=True)
    return len(made), left


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("names", nargs="*", default=list(MODULES))
    asked.add_argument("--jobs", type=int, default=2)
    asked.add_argument("--every", type=int, default=1, help="one of so many changes")
    given = asked.parse_args()
    os.chdir(CHECKOUT)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # loading them takes longer than most tests
    sys.path.insert(0, str(CHECKOUT))
    # What all children need; nothing of clickmw.
    import hypothesis  # noqa: F401
    import pytest  # noqa: F401
    import webtest  # noqa: F401
    import werkzeug.wrappers  # noqa: F401

    for name in given.names:
        begun = time.monotonic()
        made, left = survivors(name, given.jobs, given.every)
        share = 100 * (made - len(left)) / made if made else 100.0
        took = time.monotonic() - begun
        print(
            f"{name}: {made - len(left)} of {made} noticed, {share:.1f} % in {took:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
