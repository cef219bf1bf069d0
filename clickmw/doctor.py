"""The doctor: look at an install and say, finding by finding, what to do."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

from clickmw.compat import Protocol, find_protocols
from clickmw.errors import ClickMWError, StoreError
from clickmw.mcp import Mcp
from clickmw.middleware import Door, store_of
from clickmw.routes import SCHEMA
from clickmw.setting_up import (
    Finding,
    check_access,
    check_clock,
    check_drain,
    check_events,
    check_hosts,
    check_journal,
    check_platform,
    check_space,
    check_store,
    check_tallies,
    check_zones,
)
from clickmw.settings import SECRET_LENGTH, Settings
from clickmw.sharing import MADE_UP
from clickmw.sites import Key
from clickmw.stores.base import Store

__all__ = ["Finding", "examine"]

#: How long the doctor may read for damage.
READ_S = 3.0
#: Characters of a random key that nobody can guess: 22 of base64 are 132 bits.
KEY_LENGTH = 22


def examine(settings: Settings) -> list[Finding]:
    """Return what the doctor finds: the settings with their sources, the checks, a test click."""
    findings = [
        Finding(name, "note", f"{_said(settings, name)}   ({settings.sources[name]})")
        for name in settings.sources
        if name != "secret"
    ]
    for examination in (
        _secret,
        _keys,
        check_access,
        check_journal,
        check_space,
        check_clock,
        _store,
        _native,
        check_platform,
        _test_click,
    ):
        findings += _carefully(examination, settings)
    return findings


def _said(settings: Settings, name: str) -> object:
    """Return the value of a setting as it may be shown to anybody."""
    value = getattr(settings, name)
    if name == "sites":
        return ", ".join(site.handle for site in value.all)
    if name in ("old_secrets", "keys"):
        return f"{len(value)} set" if value else "none"
    if name == "admin_password":
        return "set" if value else "none"
    if callable(value):
        return getattr(value, "__qualname__", "a function")
    if isinstance(value, tuple | frozenset):
        return ", ".join(sorted(map(str, value))) or "none"
    return re.sub(r"(://)[^/?#]*@", r"\1…@", str(value)) if value is not None else "none"


def _carefully(
    examination: Callable[[Settings], Iterator[Finding]], settings: Settings
) -> list[Finding]:
    try:
        return list(examination(settings))
    except (ClickMWError, OSError) as error:
        topic = examination.__name__.removeprefix("check").strip("_").replace("_", " ")
        return [Finding(topic, "bad", str(error))]


def _secret(settings: Settings) -> Iterator[Finding]:
    source = settings.sources["secret"]
    if source == MADE_UP:
        yield Finding(
            "secret",
            "note",
            "not set here; the site's own may differ",
            "run the doctor with the site's configuration, or set CLICKMW_SECRET",
        )
    elif len(settings.secret) < SECRET_LENGTH:
        yield Finding(
            "secret",
            "bad",
            f"set, of {len(settings.secret)} characters   ({source})",
            f"whoever guesses it can sign links: make it {SECRET_LENGTH} characters or more",
        )
    else:
        yield Finding("secret", "good", f"set   ({source})")


def _keys(settings: Settings) -> Iterator[Finding]:
    """Name keys of the settings that are short: guesses at keys are not limited."""
    for place, key in _chosen_keys(settings):
        if len(key.key) < KEY_LENGTH:
            writes = key.scope == "ingest"  # such keys may be public
            opens = "send events" if writes else "read the numbers"
            yield Finding(
                "keys",
                "note" if writes else "bad",
                f"{place} has {len(key.key)} characters",
                f"whoever guesses it can {opens}: make it {KEY_LENGTH} random characters or more, "
                "or use one of clickmw keys create",
            )


def _chosen_keys(settings: Settings) -> Iterator[tuple[str, Key]]:
    """Yield where each key of the settings stands, and the key; those that pages show are left out."""
    for number, key in enumerate(settings.keys, 1):
        yield f"key {number} of keys ({key.scope})", key
    for site in settings.sites.all:
        for number, key in enumerate(site.api_keys, 1):
            yield f"key {number} of the api_keys of {site.handle} ({key.scope})", key
        if site.access_key:
            yield f"the access_key of {site.handle}", Key(key=site.access_key, scope="ingest")


def _store(settings: Settings) -> Iterator[Finding]:
    database = settings.database
    if database is not None and not database.exists():
        yield _to_be_made(database)
        return
    with closing(store_of(settings)) as store:
        yield from _opened(settings, store)


def _opened(settings: Settings, store: Store) -> Iterator[Finding]:
    yield from _damage(store)
    state = store.describe()
    yield from check_store(settings, None if state["ok"] else str(state["error"]))
    if state.get("warning"):
        yield Finding("store", "bad", str(state["warning"]), "end them, or wait for their end")
    if not state["ok"]:
        return
    reader = store.reader()
    try:
        yield from check_zones(settings, reader)
        yield from check_hosts(reader)
        yield from check_drain(settings, reader)
        yield from check_events(settings, reader)
        yield from check_tallies(reader)
    finally:
        reader.close()


def _damage(store: Store) -> Iterator[Finding]:
    """Read the store's file through, as far as a person waits for that."""
    with suppress(StoreError):  # it says so itself
        if store.find_damage(READ_S) is None:
            text = f"its file was not read to the end within {READ_S:g} seconds"
            yield Finding("store", "note", text, "to look for damage in all of it: clickmw check")


def _to_be_made(database: Path) -> Finding:
    above = next(path for path in database.absolute().parents if path.exists())
    if above.is_dir() and os.access(above, os.W_OK):
        return Finding("store", "note", f"{database} does not exist yet; the first event makes it")
    remedy = f"give the site's user the right to write in {above}, or set CLICKMW_STORE"
    return Finding("store", "bad", f"{database} cannot be made: events wait", remedy)


def _native(settings: Settings) -> Iterator[Finding]:
    """Whether the site has pages of its own there cannot be told from its settings."""
    if not settings.native_paths:
        return
    answering: list[type[Protocol]] = [*find_protocols(), Mcp]
    endpoints = [SCHEMA, *(each for one in answering for each in one.endpoints)]
    paths = sorted(f"/{each.path}" for each in endpoints if each.operations)
    yield Finding(
        "native paths",
        "note",
        f"clickmw answers at the site's root too: {', '.join(paths)}",
        "a page of your own at one of these is no longer reached; without native_paths all of them "
        f"answer below {settings.prefix} only",
    )


def _test_click(settings: Settings) -> Iterator[Finding]:
    """Send a click all the way, where that leaves nothing behind that the site cannot read."""
    reason = _why_no_test_click(settings)
    if reason:
        yield Finding("test click", "note", f"not sent: {reason}")
        return
    door = Door(_nothing_here, settings)
    try:
        stations = door.routes.try_click()
    finally:
        door.worker.close()
        door.store.close()
    way = "; ".join(f"{each.name} {each.text}, {each.took_ms:,.1f} ms" for each in stations)
    verdict = "good" if all(each.ok for each in stations) else "bad"
    remedy = "" if verdict == "good" else "mend the last station named; the others worked"
    yield Finding("test click", verdict, way, remedy)


def _why_no_test_click(settings: Settings) -> str:
    if settings.sources["secret"] == MADE_UP:
        return "that needs the site's secret"
    if not settings.journal.is_dir():
        return "the site has not begun yet, its first event makes the journal"
    if os.name == "posix" and settings.journal.stat().st_uid != os.geteuid():
        return "the journal belongs to another user, who could not read what this one writes"
    return ""


def _nothing_here(environ: dict[str, object], start_response: Callable[..., object]) -> list[bytes]:
    start_response("404 Not Found", [("Content-Type", "text/plain"), ("Content-Length", "0")])
    return [b""]
