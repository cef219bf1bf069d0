"""Keys that are made on the command line: shown once, hashed, bound, and gone when revoked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from webtest import TestApp

from clickmw import ClickMW
from clickmw.cli import main
from clickmw.keyring import READ_AGAIN_S, Holder, KeyRing, make_key
from clickmw.settings import SECRETS_LIMIT, Settings

SECRET = "s" * 32
CONFIG = """
secret = "{secret}"
store = "{store}"
sites = [{{ handle = "a", hosts = ["a.example"] }}, {{ handle = "b" }}]
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "clickmw.toml"
    path.write_text(CONFIG.format(secret=SECRET, store=f"sqlite:///{tmp_path / 'clicks.db'}"))
    return path


def settings_of(config: Path, **changes: Any) -> Settings:
    return Settings.load({"config": config, **changes}, environ={})


def keys(config: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["--config", str(config), "keys", *words])


def made(config: Path, *words: str) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(keys(config, "create", "--json", *words).stdout)
    return facts


@pytest.mark.parametrize("scope", ["read", "ingest", "admin"])
@pytest.mark.parametrize("site", [None, "a"])
def test_a_key_that_was_made_opens_what_it_is_for(
    scope: str, site: str | None, config: Path
) -> None:
    key = made(config, "--scope", scope, *(["--site", site] if site else []))
    assert KeyRing(settings_of(config)).find(key["key"]) == Holder(scope, site)


def test_the_key_alone_is_printed_and_how_to_use_it_beside(config: Path) -> None:
    done = keys(config, "create")
    assert KeyRing(settings_of(config)).find(done.stdout.strip()) == Holder("read", None)
    assert "X-Api-Key" in done.stderr
    assert done.stdout.strip() not in done.stderr


def test_no_file_has_the_key(config: Path, tmp_path: Path) -> None:
    key = made(config)["key"].encode()
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or key[-20:] not in path.read_bytes()


def test_whoever_has_the_database_alone_cannot_make_keys(config: Path) -> None:
    text, _key = make_key(settings_of(config, secret="t" * 32), "admin", None, "")
    made(config)
    assert KeyRing(settings_of(config)).find(text) is None


@pytest.mark.parametrize(
    "change",
    [lambda key: key[:-1] + "_", lambda key: key + "a", lambda key: key.upper(), lambda key: " " + key],
    ids=["last", "longer", "capitals", "blank"],
)  # fmt: skip
def test_a_key_that_was_changed_opens_nothing(change: Any, config: Path) -> None:
    key = made(config)["key"]
    changed = change(key)
    assert changed == key or KeyRing(settings_of(config)).find(changed) is None


def test_a_revoked_key_stops_within_five_seconds_in_another_process(config: Path) -> None:
    key, ring = made(config), KeyRing(settings_of(config))
    assert ring.find(key["key"])
    command = [
        sys.executable,
        "-m",
        "clickmw",
        "--config",
        str(config),
        "keys",
        "revoke",
        key["id"],
    ]
    assert subprocess.run(command, timeout=60).returncode == 0
    ring._read_at -= READ_AGAIN_S  # so much later
    assert (ring.find(key["key"]), READ_AGAIN_S < 5.0) == (None, True)


def test_a_key_that_was_made_later_is_found_without_a_restart(config: Path) -> None:
    ring = KeyRing(settings_of(config))
    assert ring.find("cmw_00000000_" + "a" * 43) is None
    key = made(config)["key"]
    ring._read_at -= READ_AGAIN_S  # so much later
    assert ring.find(key) == Holder("read", None)


def test_a_store_that_is_away_takes_no_key_out_of_force(config: Path, tmp_path: Path) -> None:
    key, ring = made(config)["key"], KeyRing(settings_of(config))
    assert ring.find(key)
    (tmp_path / "clicks.db").rename(tmp_path / "away.db")
    ring._read_at = float("-inf")
    assert ring.find(key)


def test_a_key_outlives_a_change_of_the_secret_until_the_old_one_goes(config: Path) -> None:
    key = made(config)["key"]
    rotated = settings_of(config, secret="n" * 32, old_secrets=[SECRET])
    assert KeyRing(rotated).find(key)
    assert KeyRing(settings_of(config, secret="n" * 32)).find(key) is None


@pytest.mark.parametrize(
    ("words", "opens"),
    [(("--scope", "admin"), True), (("--scope", "read"), False), (("--scope", "admin", "--site", "a"), False)],
    ids=["admin", "read", "admin of a site"],
)  # fmt: skip
def test_only_a_key_for_all_sites_of_scope_admin_opens_the_report(
    words: tuple[str, ...], opens: bool, config: Path
) -> None:
    key = made(config, *words)["key"]
    app = TestApp(ClickMW(lambda _e, _s: [b""], config=config))
    status = app.get("/_clicks/health", headers={"X-Api-Key": key}).json
    assert ("received" in status) == opens


def test_the_list_has_every_key_and_no_text_or_hash(config: Path) -> None:
    first, second = made(config, "--name", "dashboard"), made(config, "--site", "a")
    said = keys(config, "list", "--json").stdout
    assert [key["id"] for key in json.loads(said)["keys"]] == [first["id"], second["id"]]
    assert "digest" not in said
    assert first["key"][13:] not in said
    assert "dashboard" in keys(config, "list").stdout


def test_a_key_that_is_not_there_cannot_be_revoked(config: Path) -> None:
    made(config)
    done = keys(config, "revoke", "00000000")
    assert (done.exit_code, "no key" in done.output) == (1, True)


def test_a_key_needs_a_site_that_is_there(config: Path) -> None:
    done = keys(config, "create", "--site", "c")
    assert (done.exit_code, "no site is called 'c'" in done.output) == (2, True)


def test_a_rotation_prints_settings_that_keep_the_old_secret_good(
    config: Path, tmp_path: Path
) -> None:
    done = keys(config, "rotate")
    rotated = tmp_path / "rotated.toml"
    rotated.write_text(done.stdout)
    loaded = Settings.load({"config": rotated}, environ={})
    assert loaded.secret != SECRET
    assert loaded.old_secrets == (SECRET,)
    assert "30 days" in done.stderr
    assert str(config) in done.stderr


def test_rotating_on_and_on_keeps_as_many_secrets_as_are_allowed(config: Path) -> None:
    for _ in range(SECRETS_LIMIT + 2):
        config.write_text(keys(config, "rotate").stdout)
    assert len(settings_of(config).old_secrets) == SECRETS_LIMIT - 1


@pytest.mark.parametrize("name", ["create", "list", "revoke", "rotate"])
def test_the_help_of_every_command_of_keys_shows_an_example(name: str) -> None:
    done = CliRunner().invoke(main, ["keys", name, "--help"])
    assert "Example:\n    clickmw" in done.output
    assert "--json" in done.output
