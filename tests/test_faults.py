"""Requests out of this world, failures of our own, and what no file of ours may hold."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clickmw import ClickMW
from clickmw.health import difference

# -- privacy -------------------------------------------------------------------------------------


def test_no_file_of_ours_holds_who_a_visitor_was(
    clicks_at: Callable[..., ClickMW],
    browser_of: Callable[..., Any],
    link_to: Callable[..., str],
    tmp_path: Path,
) -> None:
    clicks = clicks_at()
    browser = browser_of(clicks)
    chance = random.Random(3)
    secrets: list[bytes] = []
    for number in range(1000):
        address = socket.inet_ntop(socket.AF_INET6, b"\x20\x01\x0d\xb8" + chance.randbytes(12))
        if number % 2:
            address = f"198.51.{number % 100}.{number // 100 + 100}"
        agent = f"Mozilla/5.0 (X11; rv:{chance.randrange(10**9)}) Firefox/140.0"
        cookie = f"session={chance.randbytes(12).hex()}"
        mail = f"somebody{number}@example{number}.com"
        number_text = f"{chance.randrange(100, 600)}-{chance.randrange(10, 99)}-{chance.randrange(1000, 9999)}"
        headers = {"User-Agent": agent, "Cookie": cookie}
        environ = {"REMOTE_ADDR": address}
        if number % 10 == 0:
            browser.get("/", {"q": f"pay {mail} {number_text}"}, headers, environ)
            secrets += [mail.encode(), number_text.encode()]
        browser.get(link_to("https://example.org/a"), None, headers, environ, status=302)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        packed = socket.inet_pton(family, address)
        secrets += [
            address.encode(),
            agent.encode(),
            cookie.encode(),
            address.encode().hex().encode(),
        ]
        if family == socket.AF_INET6:  # four bytes turn up by chance
            secrets += [packed, packed[:8], packed.hex().encode()]
    before = _all_bytes(tmp_path)
    clicks.door.worker.catch_up(10.0)
    after = _all_bytes(tmp_path)
    assert b"redacted" in (before + after).lower()
    assert [*_found(secrets, before), *_found(secrets, after)] == []


def _found(secrets: Iterable[bytes], kept: bytes) -> Iterator[bytes]:
    """Yield those of *secrets* that are in *kept*: one look at each place finds the ends of them all."""
    by_end: dict[bytes, set[bytes]] = {}
    for secret in secrets:
        by_end.setdefault(secret[-8:], set()).add(secret)
    for end in range(8, len(kept) + 1):
        for secret in by_end.get(kept[end - 8 : end], ()):
            if kept.endswith(secret, 0, end):
                yield secret


def _all_bytes(folder: Path) -> bytes:
    return b"\n".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


# -- requests out of this world ------------------------------------------------------------------

HEADER = st.text(st.characters(max_codepoint=255), max_size=30)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        name: HEADER | st.sampled_from(["[::1", "::ffff:1.2.3.4", "%", "http://[", "a:b:c", "1,,2"])
        for name in (
            "REMOTE_ADDR",
            "HTTP_HOST",
            "HTTP_USER_AGENT",
            "HTTP_REFERER",
            "HTTP_X_FORWARDED_FOR",
            "HTTP_FORWARDED",
            "HTTP_SEC_FETCH_SITE",
            "HTTP_SEC_FETCH_USER",
            "HTTP_SEC_GPC",
            "HTTP_DNT",
            "HTTP_COOKIE",
        )
    },
)


@pytest.mark.parametrize("proxies", [0, 1, 2])
def test_no_request_header_stops_a_redirect(
    proxies: int, clicks_at: Callable[..., ClickMW], link_to: Callable[..., str]
) -> None:
    clicks = clicks_at(trusted_proxies=proxies, redirect_rate=20)

    @settings(max_examples=150, deadline=None)
    @given(headers=HEADERS)
    def follow(headers: dict[str, str]) -> None:
        link = link_to("https://example.org/a")
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": link, "QUERY_STRING": "", **headers}
        answers: list[str] = []
        list(clicks(environ, lambda status, fields: answers.append(status)))
        assert answers == ["302 Found"]

    follow()
    clicks.door.worker.catch_up(10.0)
    ledger = clicks.door.routes.read_health()
    assert (ledger["dropped"].get("unstorable"), ledger["pending"]) == (None, 0)
    assert difference(ledger) == 0
    assert clicks.door.store.check() == []


def test_a_failure_of_ours_stops_no_redirect(
    clicks_at: Callable[..., ClickMW],
    browser_of: Callable[..., Any],
    link_to: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clicks = clicks_at()
    recorder = clicks.door.recorder
    monkeypatch.setattr(recorder, "client", lambda *request: 1 / 0)
    answer = browser_of(clicks).get(link_to("https://example.org/a"), status=302)
    assert answer.headers["Location"] == "https://example.org/a"
    clicks.door.worker.catch_up(5.0)
    ledger = clicks.door.routes.read_health()
    assert (ledger["dropped"], difference(ledger)) == ({"failure": 1}, 0)


def test_a_failure_of_ours_stops_no_page(
    clicks_at: Callable[..., ClickMW],
    browser_of: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clicks = clicks_at()
    monkeypatch.setattr(clicks.door.recorder, "client", lambda *request: 1 / 0)
    assert "<ol" in browser_of(clicks).get("/?q=tax", status=200).text
