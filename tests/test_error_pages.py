"""The page of errors has every message of the code, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
PAGE = CHECKOUT / "docs" / "reference" / "errors.md"
RAISED = {"SettingsError", "StoreError", "StoreTooNew", "Refused", "Unreachable"}
CHECKED = {"Error", "Warning"}
LOGS = {"log", "_logger"}
#: Their refusals answer an agent, who reads them there and then.
ELSEWHERE = {"tools.py"}


def written(node: ast.expr, names: dict[str, str]) -> str:
    """Return the text that *node* makes, with … for what changes."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"%[.\d]*[sr]", "…", node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(written(part, names) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return written(node.value, names) if isinstance(node.value, ast.Name) else "…"
    if isinstance(node, ast.Name):
        return names.get(node.id, "…")
    return "…"


def message_of(call: ast.Call) -> ast.expr | None:
    """Return the message that *call* says, None when it says none of these."""
    called = call.func
    if isinstance(called, ast.Name):
        if called.id == "warn_once_a_minute":
            return call.args[1]
        return call.args[0] if called.id in RAISED | CHECKED and call.args else None
    if not isinstance(called, ast.Attribute) or called.attr not in {"warning", "error"}:
        return None
    if not isinstance(called.value, ast.Name) or called.value.id not in LOGS:
        return None
    return call.args[0] if written(call.args[0], {}) != "…" else call.args[-1]


def said_in(path: Path) -> Iterator[str]:
    for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(function, ast.FunctionDef):
            continue
        assigned = [node for node in ast.walk(function) if isinstance(node, ast.Assign)]
        names = {
            target.id: written(node.value, {})
            for node in assigned
            for target in node.targets
            if isinstance(target, ast.Name) and isinstance(node.value, ast.JoinedStr)
        }
        for node in ast.walk(function):
            message = message_of(node) if isinstance(node, ast.Call) else None
            if path.name in ELSEWHERE and isinstance(node, ast.Call) and _is_refusal(node):
                continue
            if message is not None:
                yield plain(written(message, names))


def _is_refusal(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id == "Refused"


def plain(message: str) -> str:
    """Return *message* with one … for each run of what changes, without our name before it."""
    return re.sub("…+", "…", message.removeprefix("clickmw: "))


@cache
def said() -> set[str]:
    paths = (CHECKOUT / "clickmw").rglob("*.py")
    return {message for path in paths for message in said_in(path)} - {"…"}


def explained() -> set[str]:
    """Return the messages of the page: what its tables have below *Message*."""
    found: set[str] = set()
    column = -1
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if not line.startswith("|"):
            column = -1
        elif column < 0 and "Message" in cells:
            column = cells.index("Message")
        elif column >= 0 and len(cells) > column:
            found |= set(re.findall("`([^`]+)`", cells[column]))
    return found


def test_every_message_has_its_cause_and_its_remedy_on_the_page() -> None:
    assert sorted(said() - explained()) == []


def test_the_page_has_no_message_that_nobody_says() -> None:
    assert sorted(explained() - said()) == []


def test_messages_are_found_at_all() -> None:
    assert len(said()) > 40
    assert any("secret is missing" in message for message in said())
    assert any("the journal … cannot be written" in message for message in said())


def test_every_check_of_django_has_its_id_on_the_page() -> None:
    code = (CHECKOUT / "clickmw" / "django" / "checks.py").read_text(encoding="utf-8")
    ids = set(re.findall(r"clickmw\.[EW]\d{3}", code))
    assert ids == set(re.findall(r"clickmw\.[EW]\d{3}", PAGE.read_text(encoding="utf-8")))
