"""The page on security names every threat with its test, and says of each what the test says."""

from __future__ import annotations

import re
from pathlib import Path

from tests.threats import table

HERE = Path(__file__).resolve().parent


def test_every_threat_has_a_test_of_its_name() -> None:
    proofs = list(table.proofs())
    assert {proof.threat for proof in proofs} == table.THREATS.keys()
    for proof in proofs:
        assert proof.test.startswith(f"test_{proof.threat.replace('-', '').lower()}_")
        assert all(re.fullmatch(r"\d+\.\d+\.\d+", name) for name in proof.asvs)


def test_every_test_of_the_folder_is_about_a_threat() -> None:
    marked = {proof.test for proof in table.proofs()}
    named = {
        name
        for path in HERE.glob("test_*.py")
        for name in re.findall(r"^def (test_t\d\w+)\(", path.read_text("utf-8"), re.M)
    }
    assert named == marked


def test_no_number_of_the_list_is_missing() -> None:
    ranges = ((1, 17), (20, 28), (30, 44), (50, 74))
    numbers = [f"T-{n:02}" for low, high in ranges for n in range(low, high + 1)]
    assert sorted(table.THREATS) == sorted([*numbers, "T-10b"])


def test_the_page_has_the_table_of_the_tests() -> None:
    page = table.PAGE.read_text("utf-8")
    assert page == table.with_table(page), "write it anew: python tests/threats/table.py"


def test_the_page_names_what_the_contract_overrides() -> None:
    note = (HERE.parents[1] / "docs/adr/0029-threats-by-other-means.md").read_text("utf-8")
    overridden = re.findall(r"^\| (T-\d+) \|", note, re.M)
    said = {proof.threat for proof in table.proofs() if proof.result != "held"}
    assert len(overridden) == 10
    assert set(overridden) - said == set()
