"""Messages of the Model Context Protocol in both eras, without any transport."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickmw.rpc import (
    CAPABILITIES_KEY,
    HANDSHAKE_VERSIONS,
    SERVER_KEY,
    VERSION_KEY,
    Answer,
    Outcome,
    answer,
)

MODERN = "2026-07-28"
META = {VERSION_KEY: MODERN, CAPABILITIES_KEY: {}}


class Echo:
    """One tool that says what it was asked."""

    def listed(self) -> list[dict[str, Any]]:
        return [{"name": "echo", "inputSchema": {"type": "object"}}]

    def call(self, name: str, arguments: dict[str, Any]) -> Outcome | None:
        if name != "echo":
            return None
        return Outcome({"asked": arguments}, failed="fail" in arguments, notes="said")


def say(method: str, headers: dict[str, str] | None = None, **params: Any) -> Answer:
    """Return the answer to a request of the handshake era."""
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return answer(message, Echo(), headers)


def ask(method: str, headers: dict[str, str] | None = None, **params: Any) -> Answer:
    """Return the answer to a request of the modern era, with the headers that belong to it."""
    own = {"mcp-protocol-version": MODERN, "mcp-method": method}
    if "name" in params:
        own["mcp-name"] = params["name"]
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"_meta": META, **params}}
    return answer(message, Echo(), own if headers is None else {**own, **headers})


def result(said: Answer) -> dict[str, Any]:
    assert said.message is not None
    assert said.status == 200
    found: dict[str, Any] = said.message["result"]
    return found


def error(said: Answer) -> tuple[int, int]:
    assert said.message is not None
    assert set(said.message) == {"jsonrpc", "id", "error"}
    return said.status, said.message["error"]["code"]


# --- handshake -----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", HANDSHAKE_VERSIONS)
def test_a_revision_that_is_spoken_is_agreed_to(version: str) -> None:
    assert result(say("initialize", protocolVersion=version))["protocolVersion"] == version


@pytest.mark.parametrize("params", [{"protocolVersion": v} for v in ("1999-01-01", MODERN, 7)])
def test_another_revision_is_answered_with_the_latest_that_has_a_handshake(
    params: dict[str, Any],
) -> None:
    assert result(say("initialize", **params))["protocolVersion"] == "2025-11-25"


def test_the_handshake_needs_nothing_at_all() -> None:
    said = answer({"jsonrpc": "2.0", "id": 1, "method": "initialize"}, Echo(), {})
    assert set(result(said)) == {"protocolVersion", "capabilities", "serverInfo", "instructions"}


def test_a_version_header_on_the_handshake_does_no_harm() -> None:
    headers = {"mcp-protocol-version": "2025-11-25"}
    assert result(say("initialize", headers, protocolVersion="2025-11-25"))


def test_a_tool_is_called_without_a_handshake() -> None:
    said = result(say("tools/call", name="echo", arguments={"a": 1}))
    assert said["structuredContent"] == {"asked": {"a": 1}}


def test_a_ping_is_answered() -> None:
    assert result(say("ping")) == {}


@pytest.mark.parametrize("request_id", [1, 0, -5, 1.5, "a", "", 2**60])
def test_an_id_comes_back_as_it_was(request_id: object) -> None:
    said = answer({"jsonrpc": "2.0", "id": request_id, "method": "ping"}, Echo(), {})
    assert said.message is not None
    assert json.dumps(said.message["id"]) == json.dumps(request_id)


def test_errors_about_content_travel_with_200_as_clients_of_that_time_need() -> None:
    said = [say("resources/list"), say("tools/call", name="none"), say("tools/list", cursor="x")]
    assert [error(each) for each in said] == [(200, -32601), (200, -32602), (200, -32602)]


def test_results_have_nothing_that_only_the_later_era_knows() -> None:
    assert set(result(say("tools/list"))) == {"tools"}


# --- the modern era ------------------------------------------------------------------------------


def test_a_client_discovers_what_is_spoken() -> None:
    said = result(ask("server/discover"))
    assert said["supportedVersions"] == [MODERN, *reversed(HANDSHAKE_VERSIONS)]
    assert said["capabilities"] == {"tools": {}}
    assert said["_meta"][SERVER_KEY]["name"] == "clickmw"


@pytest.mark.parametrize("method", ["server/discover", "tools/list"])
def test_what_may_be_cached_says_so(method: str) -> None:
    said = result(ask(method))
    assert (said["cacheScope"], said["resultType"]) == ("private", "complete")
    assert said["ttlMs"] > 0


def test_a_call_of_a_tool_is_complete_and_not_to_be_cached() -> None:
    said = result(ask("tools/call", name="echo"))
    assert said["resultType"] == "complete"
    assert "ttlMs" not in said


@pytest.mark.parametrize("method", ["initialize", "ping", "prompts/list", ""])
def test_a_method_that_this_era_does_not_have_is_404(method: str) -> None:
    assert error(ask(method)) == (404, -32601)


def test_a_tool_that_is_not_there_is_400() -> None:
    assert error(ask("tools/call", name="none")) == (400, -32602)


@pytest.mark.parametrize("missing", [VERSION_KEY, CAPABILITIES_KEY])
def test_the_envelope_must_be_whole(missing: str) -> None:
    meta = {key: value for key, value in META.items() if key != missing}
    headers = {"mcp-protocol-version": MODERN, "mcp-method": "tools/list"}
    assert error(say("tools/list", headers, _meta=meta)) == (400, -32602)


@pytest.mark.parametrize(
    "headers",
    [
        {"mcp-protocol-version": "2025-11-25"},
        {"mcp-protocol-version": ""},
        {"mcp-method": "tools/list"},
        {"mcp-name": "other"},
        {"mcp-name": "=?base64?!!?="},
        {"mcp-name": "echo,echo"},
        {"mcp-method": "tools/call,tools/call"},
        {"mcp-protocol-version": f"{MODERN}, {MODERN}"},
    ],
    ids=str,
)
def test_headers_that_do_not_say_what_the_body_says_are_refused(headers: dict[str, str]) -> None:
    assert error(ask("tools/call", headers, name="echo")) == (400, -32020)


def test_a_name_may_stand_in_base64() -> None:
    name = f"=?base64?{b64encode(b'echo').decode()}?="
    assert result(ask("tools/call", {"mcp-name": name}, name="echo"))


def test_a_call_needs_its_name_in_the_header() -> None:
    headers = {"mcp-protocol-version": MODERN, "mcp-method": "tools/call"}
    assert error(say("tools/call", headers, _meta=META, name="echo")) == (400, -32020)


def test_without_transport_headers_the_envelope_is_enough() -> None:
    assert result(say("tools/list", _meta=META))["resultType"] == "complete"


@pytest.mark.parametrize("enveloped", [True, False])
def test_an_unknown_revision_is_told_which_ones_are_spoken(enveloped: bool) -> None:
    meta = {**META, VERSION_KEY: "2030-01-01"} if enveloped else {}
    headers = {"mcp-protocol-version": "2030-01-01", "mcp-method": "tools/list"}
    said = say("tools/list", headers, _meta=meta)
    assert error(said) == (400, -32022)
    assert said.message is not None
    data = said.message["error"]["data"]
    assert data == {"supported": [MODERN, *reversed(HANDSHAKE_VERSIONS)], "requested": "2030-01-01"}


def test_a_revision_that_is_no_text_is_refused() -> None:
    assert error(say("tools/list", _meta={**META, VERSION_KEY: 7})) == (400, -32602)


# --- messages ------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["notifications/initialized", "notifications/x", "tools/call"])
@pytest.mark.parametrize("version", ["2025-11-25", MODERN])
def test_a_notification_is_received_and_not_answered(method: str, version: str) -> None:
    headers = {"mcp-protocol-version": version}
    assert answer({"jsonrpc": "2.0", "method": method}, Echo(), headers) == Answer(202, None)


def test_a_notification_of_an_unknown_revision_is_refused() -> None:
    message = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert error(answer(message, Echo(), {"mcp-protocol-version": "x"})) == (400, -32022)


@pytest.mark.parametrize(
    "message",
    [
        [],
        [{"jsonrpc": "2.0", "id": 1, "method": "ping"}],
        None,
        "ping",
        {},
        {"jsonrpc": "1.0", "id": 1, "method": "ping"},
        {"jsonrpc": "2.0", "id": 1, "method": 5},
        {"jsonrpc": "2.0", "id": 1, "result": {}},
        {"jsonrpc": "2.0", "id": None, "method": "ping"},
        {"jsonrpc": "2.0", "id": True, "method": "ping"},
        {"jsonrpc": "2.0", "id": {}, "method": "ping"},
        {"jsonrpc": "2.0", "id": 1, "method": "ping", "params": []},
    ],
    ids=json.dumps,
)
def test_what_is_no_message_is_an_invalid_request(message: object) -> None:
    assert error(answer(message, Echo(), {})) == (400, -32600)


@pytest.mark.parametrize("arguments", [[], "a", 5, True])
def test_arguments_must_be_an_object(arguments: object) -> None:
    assert error(say("tools/call", name="echo", arguments=arguments)) == (200, -32602)


# --- results of tools ----------------------------------------------------------------------------


def test_the_first_text_is_the_same_json_as_the_structured_content() -> None:
    said = result(say("tools/call", name="echo", arguments={"ü": "é"}))
    assert json.loads(said["content"][0]["text"]) == said["structuredContent"]
    assert [each["type"] for each in said["content"]] == ["text", "text"]
    assert said["isError"] is False


def test_a_failure_is_text_only_because_it_fits_no_schema() -> None:
    said = result(say("tools/call", name="echo", arguments={"fail": 1}))
    assert said["isError"] is True
    assert "structuredContent" not in said


# --- a law ---------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inside: st.lists(inside) | st.dictionaries(st.text(), inside),
    max_leaves=8,
)
METHODS = st.sampled_from(["initialize", "server/discover", "tools/list", "tools/call", "ping"])
METAS = st.dictionaries(st.sampled_from([VERSION_KEY, CAPABILITIES_KEY, "x"]), VALUES)
PARAMS = VALUES | st.fixed_dictionaries(
    {}, optional={"_meta": METAS | VALUES, "name": VALUES, "arguments": VALUES, "cursor": VALUES}
)
MESSAGES = VALUES | st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0") | VALUES},
    optional={"id": VALUES, "method": METHODS | VALUES, "params": PARAMS},
)
HEADERS = st.none() | st.dictionaries(
    st.sampled_from(["mcp-protocol-version", "mcp-method", "mcp-name"]),
    st.text() | st.sampled_from([*HANDSHAKE_VERSIONS, MODERN, "tools/call", "=?base64??="]),
)


@given(MESSAGES, HEADERS)
def test_every_message_has_an_answer(message: object, headers: dict[str, str] | None) -> None:
    said = answer(message, Echo(), headers)
    assert said.status in (200, 202, 400, 404)
    assert (said.message is None) == (said.status == 202)
    if said.message is not None:
        assert set(said.message) in ({"jsonrpc", "id", "result"}, {"jsonrpc", "id", "error"})
        json.dumps(said.message, allow_nan=False)
