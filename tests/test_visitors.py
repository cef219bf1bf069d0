"""Addresses, wishes and the hash that stands for a visitor."""

from __future__ import annotations

import multiprocessing
import os
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickmw.visitors import (
    Salts,
    address_prefix,
    behind_unnamed_proxy,
    client_address,
    opted_out,
    visitor_id,
)

TODAY = 20_000
SALT = b"s" * 32


def forwarded(header: str) -> dict[str, str]:
    return {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": header}


@pytest.mark.parametrize(
    ("header", "proxies", "address"),
    [
        ("1.2.3.4, 5.6.7.8", 0, "10.0.0.1"),
        ("1.2.3.4, 5.6.7.8", 1, "5.6.7.8"),
        ("1.2.3.4, 5.6.7.8", 2, "1.2.3.4"),
        ("1.2.3.4,5.6.7.8,9.9.9.9", 2, "5.6.7.8"),
        ("1.2.3.4", 2, "10.0.0.1"),
        ("2001:db8::1", 1, "2001:db8::1"),
        ("", 1, "10.0.0.1"),
        ("1.2.3.4, ", 1, "10.0.0.1"),
        ("1.2.3.4:80", 1, "10.0.0.1"),
        ("[2001:db8::1]", 1, "10.0.0.1"),
        ("fe80::1%eth0", 1, "10.0.0.1"),
        ("unknown", 1, "10.0.0.1"),
        ("<script>", 1, "10.0.0.1"),
        ("1.2.3.4, " * 1200 + "5.6.7.8", 1, "10.0.0.1"),
    ],
    ids=lambda part: str(part)[:30],
)
def test_the_client_is_as_many_steps_back_as_there_are_proxies(
    header: str, proxies: int, address: str
) -> None:
    assert client_address(forwarded(header), proxies) == address


def test_a_server_on_a_local_socket_has_no_address() -> None:
    assert client_address({}, 0) == ""
    assert client_address({"HTTP_X_FORWARDED_FOR": "1.2.3.4"}, 1) == "1.2.3.4"


@pytest.mark.parametrize(
    "remote", ["10.0.0.1", "127.0.0.1", "::1", "::ffff:10.0.0.1", "fd00::1", ""]
)
def test_a_forwarded_request_from_inside_tells_of_an_unnamed_proxy(remote: str) -> None:
    environ = {"REMOTE_ADDR": remote, "HTTP_X_FORWARDED_FOR": "1.2.3.4"}
    assert behind_unnamed_proxy(environ, 0)
    assert not behind_unnamed_proxy(environ, 1)
    assert not behind_unnamed_proxy({"REMOTE_ADDR": remote}, 0)


def test_a_forwarded_request_from_outside_tells_of_no_proxy() -> None:
    assert not behind_unnamed_proxy({"REMOTE_ADDR": "8.8.8.8", "HTTP_FORWARDED": "for=1"}, 0)


@pytest.mark.parametrize(
    ("address", "prefix"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:0DB8:1:2::9", "2001:db8:1:2::/64"),
        ("nonsense", "nonsense"),
        ("", ""),
    ],
)
def test_an_address_is_told_apart_by_its_prefix(address: str, prefix: str) -> None:
    assert address_prefix(address) == prefix
    assert address_prefix(prefix) == prefix


@pytest.mark.parametrize(
    ("environ", "wish"),
    [
        ({"HTTP_SEC_GPC": "1"}, True),
        ({"HTTP_DNT": "1"}, True),
        ({"HTTP_SEC_GPC": "0", "HTTP_DNT": "0"}, False),
        ({"HTTP_DNT": "null"}, False),
        ({}, False),
    ],
)
def test_the_visitors_wish_is_heard(environ: dict[str, str], wish: bool) -> None:
    assert opted_out(environ) is wish


@pytest.mark.parametrize(
    ("cookies", "wish"),
    [
        ("clickmw_optout=1", True),
        ("a=b; clickmw_optout=1", True),
        ("clickmw_optout=1;a=b", True),
        ("a=b;clickmw_optout=1 ; c=d", True),
        ("", False),
        ("a=b", False),
        ("clickmw_optout=0", False),
        ("clickmw_optout=10", False),
        ("clickmw_optout=", False),
        ("xclickmw_optout=1", False),
        ("x_clickmw_optout=1; clickmw_optout=12", False),
        ("CLICKMW_OPTOUT=1", False),
        ("a=clickmw_optout=1", False),
        ("a=b, clickmw_optout=1", False),
    ],
)
def test_a_wish_is_kept_in_a_cookie_of_this_name_alone(cookies: str, wish: bool) -> None:
    assert opted_out({"HTTP_COOKIE": cookies}) is wish


def test_a_visitor_is_the_same_all_day_and_another_tomorrow() -> None:
    today = visitor_id(SALT, "parks", "192.0.2.7", "Firefox")
    assert today == visitor_id(SALT, "parks", "192.0.2.7", "Firefox")
    assert today != visitor_id(b"t" * 32, "parks", "192.0.2.7", "Firefox")


def test_neighbours_in_one_ipv6_network_are_one_visitor() -> None:
    assert visitor_id(SALT, "a", "2001:db8::1", "x") == visitor_id(SALT, "a", "2001:db8::2", "x")


PARTS = st.tuples(st.text(max_size=8), st.text(max_size=8), st.text(st.characters(), max_size=8))


@given(PARTS, PARTS)
def test_visitors_differ_when_any_part_differs(
    one: tuple[str, str, str], other: tuple[str, str, str]
) -> None:
    assert (visitor_id(SALT, *one) == visitor_id(SALT, *other)) == (one == other)
    assert len(visitor_id(SALT, *one)) == 16


def test_a_salt_is_random_and_lasts_its_day(tmp_path: Path) -> None:
    salts = Salts(tmp_path)
    first = salts.salt(TODAY, today=TODAY)
    assert first is not None
    assert len(first) == 32
    assert salts.salt(TODAY, today=TODAY) == first
    assert salts.salt(TODAY + 1, today=TODAY) not in (None, first)
    assert Salts(tmp_path / "elsewhere").salt(TODAY, today=TODAY) != first


def test_all_processes_of_a_folder_share_a_salt(tmp_path: Path) -> None:
    assert Salts(tmp_path).salt(TODAY, today=TODAY) == Salts(tmp_path).salt(TODAY, today=TODAY)


def test_only_a_salt_of_days_around_today_is_given(tmp_path: Path) -> None:
    salts = Salts(tmp_path)
    made = salts.salt(TODAY, today=TODAY)
    assert salts.salt(TODAY, today=TODAY + 2) == made
    assert salts.salt(TODAY, today=TODAY + 3) is None
    assert salts.salt(TODAY + 5, today=TODAY + 3) is None


def test_a_past_salt_is_never_made_up(tmp_path: Path) -> None:
    assert Salts(tmp_path).salt(TODAY - 1, today=TODAY) is None
    assert list(tmp_path.iterdir()) == []


def test_a_salt_is_destroyed_after_two_days(tmp_path: Path) -> None:
    salts = Salts(tmp_path)
    salts.salt(TODAY, today=TODAY)
    (tmp_path / "salt-notes.txt").touch()
    Salts(tmp_path).salt(TODAY + 3, today=TODAY + 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["salt-20003", "salt-notes.txt"]
    salts.forget(today=TODAY + 3)
    assert salts.salt(TODAY, today=TODAY + 2) is None


@pytest.fixture
def odd_umask() -> Iterator[None]:
    before = os.umask(0o277)
    yield
    os.umask(before)


@pytest.mark.skipif(os.name == "nt", reason="modes are POSIX")
@pytest.mark.usefixtures("odd_umask")
def test_only_the_owner_may_read_a_salt_whatever_the_umask(tmp_path: Path) -> None:
    Salts(tmp_path).salt(TODAY, today=TODAY)
    assert stat.S_IMODE((tmp_path / f"salt-{TODAY}").stat().st_mode) == 0o600


def test_a_folder_that_cannot_be_written_gives_a_salt_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    salts = Salts(tmp_path / "file")
    own = salts.salt(TODAY, today=TODAY)
    assert own is not None
    assert salts.salt(TODAY, today=TODAY) == own
    assert salts.salt(TODAY, today=TODAY + 1) == own
    assert salts.salt(TODAY - 1, today=TODAY) is None


def test_a_folder_is_tried_again_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").touch()
    salts = Salts(tmp_path / "folder")
    salts.salt(TODAY, today=TODAY)
    (tmp_path / "folder").unlink()
    shared = Salts(tmp_path / "folder").salt(TODAY, today=TODAY)
    assert salts.salt(TODAY, today=TODAY) != shared
    now = time.monotonic()
    monkeypatch.setattr("clickmw.visitors.time.monotonic", lambda: now + 61)
    assert salts.salt(TODAY, today=TODAY) == shared


def test_a_damaged_salt_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / f"salt-{TODAY}").write_bytes(b"short")
    assert len(Salts(tmp_path).salt(TODAY, today=TODAY) or b"") == 32


def test_a_file_system_without_hard_links_still_shares_a_salt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr("clickmw.visitors.os.link", refuse)
    assert Salts(tmp_path).salt(TODAY, today=TODAY) == Salts(tmp_path).salt(TODAY, today=TODAY)
    assert [path.name for path in tmp_path.iterdir()] == [f"salt-{TODAY}"]


def test_drafts_that_a_killed_process_left_are_cleared(tmp_path: Path) -> None:
    (tmp_path / f".salt-{TODAY}.{'0' * 16}").touch()
    Salts(tmp_path).forget(today=TODAY + 3)
    assert list(tmp_path.iterdir()) == []


def test_threads_agree_while_days_pass(tmp_path: Path) -> None:
    salts = Salts(tmp_path)
    found: list[tuple[int, bytes | None]] = []

    def ask() -> None:
        found.extend((day, salts.salt(day, today=day)) for day in range(TODAY, TODAY + 60))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 240
    assert all(salt for _, salt in found)


def first_salt(folder: Path) -> bytes | None:
    return Salts(folder).salt(TODAY, today=TODAY)


def test_processes_that_start_together_agree(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(4) as pool:
        for round_ in range(10):
            found = pool.map(first_salt, [tmp_path / str(round_)] * 8, chunksize=1)
            assert len(set(found)) == 1
            assert [path.name for path in (tmp_path / str(round_)).iterdir()] == [f"salt-{TODAY}"]
