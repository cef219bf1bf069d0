"""What a JSON Schema says of a value, in the words of Ajv 8: the validator of many servers in JavaScript.

It knows ``type``, ``nullable``, ``anyOf``, ``required``, ``properties`` and ``items``, which mean the
same in OpenAPI 3.0.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

Schema = Mapping[str, Any]
Problem = dict[str, Any]

_TYPES: dict[str, Any] = {"object": dict, "array": list, "string": str, "number": (int, float)}


def problems(schema: Schema, value: Any, instance: str = "", path: str = "#") -> list[Problem]:
    """Return what Ajv with ``allErrors`` says of *value*, in its order; [] when nothing is wrong.

    Differs from Ajv in one thing that no reader of JSON can see: the members of a problem are in
    the order of the alphabet.
    """
    found = _branches(schema, value, instance, path) if "anyOf" in schema else []
    wanted = schema.get("type")
    if wanted and not _is_a(wanted, value, schema):
        message = f"must be {wanted}"
        return [*found, problem(instance, "type", message, {"type": wanted}, f"{path}/type")]
    if isinstance(value, dict):
        if "required" in schema:
            found += _missing(schema["required"], value, instance, path)
        for name, part in schema.get("properties", {}).items():
            if name in value:
                at = f"{path}/properties/{name}"
                found += problems(part, value[name], f"{instance}/{name}", at)
    elif isinstance(value, list) and "items" in schema:
        for index, each in enumerate(value):
            found += problems(schema["items"], each, f"{instance}/{index}", f"{path}/items")
    return found


def problem(
    instance: str, keyword: str, message: str, params: Mapping[str, str], path: str
) -> Problem:
    """Return one problem: where in the value, which rule, in words, its parameters, where in the schema."""
    return {
        "instancePath": instance,
        "keyword": keyword,
        "message": message,
        "params": params,
        "schemaPath": path,
    }


def _branches(schema: Schema, value: Any, instance: str, path: str) -> list[Problem]:
    """Return what is wrong with all branches of ``anyOf``; nothing when one of them fits."""
    found: list[Problem] = []
    for index, branch in enumerate(schema["anyOf"]):
        wrong = problems(branch, value, instance, f"{path}/anyOf/{index}")
        if not wrong:
            return []
        found += wrong
    message = "must match a schema in anyOf"
    return [*found, problem(instance, "anyOf", message, {}, f"{path}/anyOf")]


def _missing(
    required: Iterable[str], value: Mapping[str, Any], instance: str, path: str
) -> list[Problem]:
    return [
        problem(
            instance,
            "required",
            f"must have required property '{name}'",
            {"missingProperty": name},
            f"{path}/required",
        )
        for name in required
        if name not in value
    ]


def _is_a(wanted: str, value: Any, schema: Schema) -> bool:
    if value is None:
        return bool(schema.get("nullable"))
    if isinstance(value, bool) or not isinstance(value, _TYPES[wanted]):
        return False
    # What no double can hold is infinite in JavaScript, and no number to Ajv.
    return wanted != "number" or abs(value) <= sys.float_info.max
