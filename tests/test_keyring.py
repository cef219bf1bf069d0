"""Keys: what each opens, and how a request shows one."""

from __future__ import annotations

import hmac
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clickmw import keyring
from clickmw.keyring import READ_AGAIN_S, Holder, KeyRing, make_key, shown_key
from clickmw.settings import Settings
from clickmw.stores import open_store
from clickmw.stores.base import StoreOptions

SETTINGS: dict[str, Any] = {
    "secret": "s" * 32,
    "keys": [{"key": "all-admin", "scope": "admin"}, {"key": "all-read"}],
    "sites": [
        {"handle": "a", "hosts": ["a.example"], "api_keys": [{"key": "a-read"}]},
        {"handle": "b", "api_keys": [{"key": "b-ingest", "scope": "ingest"}, {"key": "schlüssel"}]},
    ],
}


@pytest.fixture(scope="module")
def ring() -> KeyRing:
    return KeyRing(Settings.load(SETTINGS, environ={}))


@pytest.mark.parametrize(
    ("given", "holder", "may_read"),
    [
        ("all-admin", Holder("admin", None), True),
        ("all-read", Holder("read", None), True),
        ("a-read", Holder("read", "a"), True),
        ("b-ingest", Holder("ingest", "b"), False),
        ("schlüssel", Holder("read", "b"), True),
    ],
)
def test_a_key_opens_what_its_scope_says(
    given: str, holder: Holder, may_read: bool, ring: KeyRing
) -> None:
    found = ring.find(given)
    assert (found, found and found.may_read) == (holder, may_read)


@pytest.mark.parametrize(
    "given", ["", "a", "a-rea", "a-read ", "A-READ", "a-readx", "\ud800", "\0", "x" * 100_000]
)
def test_a_wrong_key_opens_nothing(given: str, ring: KeyRing) -> None:
    assert ring.find(given) is None


def test_an_install_without_keys_opens_nothing() -> None:
    assert KeyRing(Settings(secret="s" * 32)).find("") is None


def test_every_key_is_compared_whichever_matches(
    ring: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[bytes] = []
    compare = hmac.compare_digest

    def noted(key: bytes, given: bytes) -> bool:
        compared.append(key)
        return compare(key, given)

    monkeypatch.setattr(keyring.hmac, "compare_digest", noted)
    ring.find("all-admin")
    first = len(compared)
    ring.find("wrong")
    assert (first, len(compared)) == (5, 10)


@pytest.mark.parametrize(
    ("environ", "query", "key"),
    [
        pytest.param({"HTTP_X_API_KEY": "k"}, [], "k", id="header"),
        pytest.param({"HTTP_X_API_KEY": " k "}, [], "k", id="header with blanks"),
        pytest.param({"HTTP_AUTHORIZATION": "Bearer k"}, [], "k", id="bearer"),
        pytest.param({"HTTP_AUTHORIZATION": "bearer  k"}, [], "k", id="bearer in small letters"),
        pytest.param({}, [("api_key", "k")], "k", id="query"),
        pytest.param({}, [("api_key", "k"), ("api_key", "k")], "k", id="the same key twice"),
        pytest.param(
            {"HTTP_X_API_KEY": "k", "HTTP_AUTHORIZATION": "Bearer b"},
            [("api_key", "q")],
            "k",
            id="the header goes first",
        ),
        pytest.param({"HTTP_AUTHORIZATION": "Bearer k"}, [("api_key", "q")], "k", id="then bearer"),
        pytest.param({}, [("api_key", "k"), ("api_key", "other")], "", id="two different keys"),
        pytest.param({}, [("API_KEY", "k")], "", id="another parameter"),
        pytest.param({"HTTP_AUTHORIZATION": "Basic aTprCg=="}, [], "", id="another scheme"),
        pytest.param({"HTTP_AUTHORIZATION": "Bearer"}, [], "", id="bearer of nothing"),
        pytest.param({"HTTP_X_API_KEY": ""}, [], "", id="empty header"),
        pytest.param({}, [], "", id="nothing"),
    ],
)
def test_a_request_shows_its_key_in_one_of_three_ways(
    environ: dict[str, str], query: list[tuple[str, str]], key: str
) -> None:
    assert shown_key(environ, query) == key


def test_keys_are_never_shown() -> None:
    settings = Settings.load(SETTINGS, environ={})
    shown = repr(settings) + repr(settings.keys) + repr(settings.sites)
    assert not [word for word in ("all-admin", "a-read", "b-ingest") if word in shown]


def test_a_key_of_a_stored_form_that_nobody_has_opens_nothing(tmp_path: Path) -> None:
    settings = Settings.load(
        {"secret": "s" * 32, "store": f"sqlite:///{tmp_path / 'clicks.db'}"}, environ={}
    )
    store = open_store(settings.store, StoreOptions())
    store.migrate()
    text, kept = make_key(settings, "read", None, "one")
    store.add_key(kept)
    store.close()
    assert abs(kept.created_ms - time.time() * 1000) < 60_000
    ring = KeyRing(settings)
    assert ring.find(text) == Holder("read", None)
    assert ring.find(text[:-1] + ("A" if text[-1] != "A" else "B")) is None
    assert ring.find(text.replace(kept.id, "0" * 8)) is None
    assert ring.find("") is None


def test_the_store_is_asked_for_its_keys_now_and_then_and_not_at_each_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[str] = []
    closed: list[Any] = []

    class Empty:
        def list_keys(self) -> list[Any]:
            return []

        def close(self) -> None:
            closed.append(self)

    def open_noted(url: str, _options: StoreOptions) -> Empty:
        opened.append(url)
        return Empty()

    now = [1000.0]
    monkeypatch.setattr(keyring, "open_store", open_noted)
    monkeypatch.setattr(keyring, "time", SimpleNamespace(monotonic=lambda: now[0]))
    ring = KeyRing(Settings(secret="s" * 32))
    text = f"cmw_{0:08x}_{'a' * 43}"
    for passed in (0.0, 1.0, READ_AGAIN_S, READ_AGAIN_S + 0.1, READ_AGAIN_S + 0.2):
        now[0] = 1000.0 + passed
        assert ring.find(text) is None
    assert (len(opened), len(closed)) == (2, 2)
