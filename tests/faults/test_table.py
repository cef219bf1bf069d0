"""Every fault of the table has tests that are named after it, and the documentation has them."""

from __future__ import annotations

from pathlib import Path

from tests.faults import table

HERE = Path(__file__).parent


def test_every_fault_has_its_tests() -> None:
    assert sorted(table.files()) == table.IDS


def test_every_test_is_named_after_its_fault() -> None:
    wrong = [
        test.name
        for fault, paths in table.files().items()
        for path in paths
        for test in table.tests_of(path)
        if not test.name.startswith(f"test_{fault.replace('-', '').lower()}_")
    ]
    assert wrong == []


def test_every_file_begins_with_its_fault_and_what_holds() -> None:
    for fault, paths in table.files().items():
        for path in paths:
            text = path.read_text(encoding="utf-8")
            assert text.startswith(f'"""{fault}: '), path.name
            assert table.row(fault, [path]).count(" |  |") == 0, path.name


def test_every_file_runs_on_each_kind_of_store_or_says_why_not() -> None:
    for paths in table.files().values():
        for path in paths:
            said = [*table.stores_of(path), *table.missing_on(path)]
            assert sorted(said) == sorted(table.KINDS), path.name


def test_the_documentation_has_the_table_as_it_is() -> None:
    """If not: ``python tests/faults/table.py``."""
    text = table.PAGE.read_text(encoding="utf-8")
    assert table.page(text) == text
