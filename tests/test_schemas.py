"""The little validator: it must say what the real Ajv says, word for word and in the same order."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from clickmw.compat.vtexads import EVENT, ORDER
from clickmw.schemas import Schema, problems

AJV = Path(__file__).parent / "conformance" / "ajv.mjs"
SCHEMAS: dict[str, Schema] = {"event": EVENT, "order": ORDER}
ITEM = {"sku": "12221", "quantity": 1, "price": 2000.0, "promotional_price": 1899.0}
FULL = {"user_id": "u", "order_id": "1", "publisher_id": "p", "items": [ITEM], "created_at": "2023"}

EVENTS: list[Any] = [
    {},
    {"user_id": "u"},
    {"session_id": "s"},
    {"user_id": "", "session_id": ""},
    {"user_id": "u", "ads_sourcing_components": ["SDK_ADS_KOTLIN"]},
    {"user_id": 5},
    {"session_id": None},
    {"user_id": None, "session_id": True},
    {"user_id": ["u"], "session_id": {}},
    {"user_id": "u", "session_id": 1.5},
    {"constructor": "x", "toString": "y"},
    {"__proto__": {"user_id": "u"}},
    [],
    [{"user_id": "u"}],
    "user_id",
    "",
    None,
    True,
    0,
    -0.0,
]
ORDERS: list[Any] = [
    {},
    FULL,
    FULL | {"items": []},
    FULL | {"items": {}},
    FULL | {"items": None},
    FULL | {"items": "[]"},
    FULL | {"items": [ITEM, None, 3, [], "x", {}]},
    FULL | {"items": [{"product_sku": "1", "quantity": 1, "price": 2.5}]},
    FULL | {"items": [ITEM | {"seller_id": None, "product_id": None, "promotional_price": None}]},
    FULL | {"items": [ITEM | {"sku": None, "quantity": None, "price": None}]},
    FULL | {"items": [ITEM | {"sku": 12221, "seller_id": 1, "product_id": 4567}]},
    FULL | {"items": [ITEM | {"quantity": "2", "price": True, "promotional_price": "1"}]},
    FULL | {"items": [ITEM | {"price": 10**400}]},
    FULL | {"items": [ITEM | {"price": -(10**400), "quantity": 10**300}]},
    FULL | {"order_id": 1, "user_id": None, "created_at": 1672564800000},
    FULL | {"session_id": 5, "publisher_id": 45, "channel": 7},
    {name: value for name, value in FULL.items() if name != "items"},
    {"items": [{"sku": 1}]},
    [],
    "order",
    None,
]

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.just(0.5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=4,
)
texts = st.text(max_size=3) | values
items = st.dictionaries(
    st.sampled_from([*ORDER["properties"]["items"]["items"]["properties"], "x"]), values, max_size=4
)
orders = st.fixed_dictionaries(
    {},
    optional={
        name: st.lists(items | values, max_size=3) | values if name == "items" else texts
        for name in ORDER["properties"]
    },
)
events = st.fixed_dictionaries({}, optional=dict.fromkeys(["user_id", "session_id", "x"], texts))


def drawn(strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    """Return the same *count* examples each time."""
    found: list[Any] = []

    @settings(
        max_examples=count,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def draw(example: Any) -> None:
        found.append(example)

    draw()
    return found


def test_all_errors_are_those_of_ajv(node_clients: Path) -> None:
    cases = [("event", json.dumps(case)) for case in [*EVENTS, *drawn(events | values, 200)]]
    cases += [("order", json.dumps(case)) for case in [*ORDERS, *drawn(orders | values, 300)]]
    asked = json.dumps({"schemas": SCHEMAS, "cases": cases})
    ran = subprocess.run(
        ["node", str(AJV)],
        input=asked,
        cwd=node_clients,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    said = [problems(SCHEMAS[name], json.loads(text)) for name, text in cases]
    differences = [
        (case, ours, theirs)
        for case, ours, theirs in zip(cases, said, json.loads(ran.stdout), strict=True)
        if ours != theirs
    ]
    assert differences == []
    assert sum(map(bool, said)) > 200  # what is found wrong is compared, not only what is right


def test_a_problem_has_its_members_in_the_order_of_the_alphabet() -> None:
    (found,) = problems(EVENT, [])
    assert list(found) == ["instancePath", "keyword", "message", "params", "schemaPath"]


@pytest.mark.parametrize("value", [EVENTS[4], ORDERS[1]], ids=["event", "order"])
def test_nothing_is_wrong_with_what_fits(value: Any) -> None:
    assert problems(ORDER if "order_id" in value else EVENT, value) == []
