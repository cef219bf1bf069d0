"""The codes of Search.gov's modules."""

from __future__ import annotations

import pytest

from clickmw.module_codes import MODULE_CODES, is_module_code


def test_search_gov_has_22_modules() -> None:
    assert len(MODULE_CODES) == 22
    assert MODULE_CODES["I14Y"] == "Web Results (Search.gov via i14y)"


@pytest.mark.parametrize("code", [*MODULE_CODES, "my-block_2", "x" * 32])
def test_letters_digits_dashes_and_underscores_make_a_code(code: str) -> None:
    assert is_module_code(code)


@pytest.mark.parametrize("code", ["", "x" * 33, "a b", "a\n", "ä", "<b>", "a.b"])
def test_other_text_is_no_code(code: str) -> None:
    assert not is_module_code(code)
