"""The doctor: every setting with its source, every trouble with its remedy, and a test click."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from flask import Flask

from clickmw import ClickMW, setting_up
from clickmw.cli import main
from clickmw.console import Install
from clickmw.doctor import Finding, examine
from clickmw.setting_up import MANY_REPLICAS, Mount, check_platform, mount_of
from clickmw.settings import Settings

SECRET = "s" * 32


def settings_of(tmp_path: Path, **given: Any) -> Settings:
    store = {"store": f"sqlite:///{tmp_path / 'clicks.db'}"}
    return Settings.load({"secret": SECRET, **store, **given}, environ={})


def of_topic(findings: list[Finding], topic: str) -> list[Finding]:
    return [each for each in findings if each.topic == topic]


def test_every_setting_is_there_with_its_source(tmp_path: Path) -> None:
    config = tmp_path / "clickmw.toml"
    config.write_text('time_zone = "Europe/Berlin"\n')
    found = {each.topic: each.text for each in examine(settings_of(tmp_path, config=config))}
    assert set(settings_of(tmp_path).sources) <= set(found)
    assert found["time_zone"] == f"Europe/Berlin   (file {config})"
    assert found["keep_days"] == "395   (default)"
    assert found["store"] != ""


def test_a_number_of_visitors_that_nobody_can_reach_is_bad(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, min_visitors=5, visitor="none")
    (found,) = of_topic(examine(settings), "rare queries")
    assert found.verdict == "bad"
    assert "no query is ever named" in found.remedy
    assert of_topic(examine(settings_of(tmp_path, min_visitors=5)), "rare queries") == []


def test_no_secret_is_shown(tmp_path: Path) -> None:
    private = {
        "old_secrets": ["o" * 32],
        "admin_password": "hunter2hunter2",
        "keys": [{"key": "kkkkkkkk"}],
        "sites": [{"handle": "a", "access_key": "xxxxxxxx", "api_keys": [{"key": "yyyyyyyy"}]}],
    }
    said = " ".join(each.line() for each in examine(settings_of(tmp_path, **private)))
    for text in (SECRET, "o" * 32, "hunter2", "kkkkkkkk", "xxxxxxxx", "yyyyyyyy"):
        assert text not in said


@pytest.mark.parametrize(
    ("where", "what"),
    [
        ({"keys": [{"key": "k" * 22}, {"key": "k" * 21}]}, "key 2 of keys (read)"),
        ({"keys": [{"key": "k" * 21, "scope": "admin"}]}, "key 1 of keys (admin)"),
        ({"sites": [{"handle": "a", "api_keys": [{"key": "k" * 21}]}]}, "the api_keys of a (read)"),
    ],
    ids=["second", "admin", "site"],
)
def test_a_key_that_can_be_guessed_is_bad_and_says_where_it_stands(
    where: dict[str, Any], what: str, tmp_path: Path
) -> None:
    (found,) = of_topic([each for each in examine(settings_of(tmp_path, **where)) if each.remedy], "keys")  # fmt: skip
    assert (found.verdict, what in found.text, "21 characters" in found.text) == ("bad", True, True)
    assert "read the numbers" in found.remedy
    assert "22 random characters" in found.remedy
    assert "kkk" not in found.line()


@pytest.mark.parametrize(
    "key", [{"access_key": "basic_key"}, {"api_keys": [{"key": "x" * 9, "scope": "ingest"}]}], ids=str
)  # fmt: skip
def test_a_short_key_that_only_writes_and_may_be_public_is_a_note(
    key: dict[str, Any], tmp_path: Path
) -> None:
    findings = examine(settings_of(tmp_path, sites=[{"handle": "a", **key}]))
    (found,) = of_topic(findings, "keys")[-1:]
    assert (found.verdict, "9 characters" in found.text) == ("note", True)
    assert "send events" in found.remedy


def test_keys_that_every_page_shows_and_long_ones_are_no_finding(tmp_path: Path) -> None:
    site = {"handle": "a", "index_key": "0" * 8, "tracking_key": "K1", "access_key": "a" * 22}
    given = {"keys": [{"key": "k" * 22}], "sites": [{**site, "api_keys": [{"key": "y" * 43}]}]}
    findings = of_topic(examine(settings_of(tmp_path, **given)), "keys")
    assert [each for each in findings if each.remedy] == []


def test_the_key_of_a_framework_is_a_secret_that_is_set(tmp_path: Path) -> None:
    app = Flask(__name__, instance_path=str(tmp_path))
    app.config["SECRET_KEY"] = SECRET
    clicks = ClickMW(app)
    (secret,) = of_topic(examine(Install(None, None, clicks.sources).settings()), "secret")
    assert secret == Finding("secret", "good", "set   (Flask SECRET_KEY (derived))")


def test_more_rights_are_no_remedy_for_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "clicks.db").write_text("nothing that SQLite knows\n" * 99)
    (store,) = [each for each in of_topic(examine(settings_of(tmp_path)), "store") if each.remedy]
    assert "file is not a database" in store.text
    assert "right to" not in store.remedy
    assert "backup" in store.remedy


def test_a_command_line_without_a_secret_says_so(tmp_path: Path) -> None:
    words = ["--store", f"sqlite:///{tmp_path / 'clicks.db'}", "doctor", "--json"]
    done = CliRunner().invoke(main, words, env={"CLICKMW_SECRET": ""})
    (secret,) = [each for each in json.loads(done.output) if each["topic"] == "secret"]
    assert (secret["verdict"], "not set here" in secret["text"]) == ("note", True)


def test_a_short_key_of_a_framework_is_bad(tmp_path: Path) -> None:
    given = {"store": f"sqlite:///{tmp_path / 'clicks.db'}"}
    settings = Settings.load(given, derived={"secret": "short"}, framework_name="Flask", environ={})
    (secret,) = of_topic(examine(settings), "secret")
    assert (secret.verdict, "5 characters" in secret.text) == ("bad", True)


def test_folders_that_the_first_start_would_make_are_no_trouble(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'not' / 'yet' / 'clicks.db'}"
    findings = examine(settings_of(tmp_path, store=store))
    assert [each for each in findings if each.verdict == "bad"] == []
    assert "first event makes it" in of_topic(findings, "store")[-1].text


def test_folders_that_nobody_can_make_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = f"sqlite:///{tmp_path / 'file' / 'clicks.db'}"
    findings = examine(settings_of(tmp_path, store=store))
    bad = {each.topic: each.remedy for each in findings if each.verdict == "bad"}
    assert set(bad) == {"store", "journal"}
    assert all(str(tmp_path / "file") in remedy for remedy in bad.values())


def test_the_last_finding_is_a_test_click_that_counts_nowhere(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    settings.journal.mkdir(mode=0o700)
    last = examine(settings)[-1]
    assert (last.topic, last.verdict) == ("test click", "good"), last
    assert "stored, verdict: test" in last.text


# -- file systems --------------------------------------------------------------------------------

MOUNTS = """\
/dev/sda1 / ext4 rw,relatime 0 0
overlay /app overlay rw,lowerdir=/a,upperdir=/b 0 0
tmpfs /run tmpfs rw,nosuid 0 0
server:/export /srv/with\\040space nfs4 rw,vers=4.2 0 0
/dev/sdb1 /srv/ro ext4 ro,relatime 0 0
/dev/sdc1 /run/disk ext4 rw 0 0
tmpfs /twice tmpfs rw 0 0
/dev/sdd1 /twice ext4 rw 0 0
"""


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    path = tmp_path / "mounts"
    path.write_text(MOUNTS)
    return path


@pytest.mark.parametrize(
    ("folder", "mount"),
    [
        ("/var/lib", Mount("ext4", False)),
        ("/app/data", Mount("overlay", False)),
        ("/application", Mount("ext4", False)),
        ("/run", Mount("tmpfs", False)),
        ("/run/disk/a", Mount("ext4", False)),
        ("/srv/with space/a", Mount("nfs4", False)),
        ("/srv/ro/a", Mount("ext4", True)),
        ("/twice/a", Mount("ext4", False)),
    ],
)
def test_the_file_system_of_a_folder_is_known(folder: str, mount: Mount, mounts: Path) -> None:
    assert mount_of(Path(folder), mounts) == mount


def test_where_nobody_knows_the_file_system_nothing_is_said(tmp_path: Path) -> None:
    assert mount_of(tmp_path, tmp_path / "none") == Mount("", False)


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="Linux has a tmpfs there")
def test_a_store_and_a_journal_on_a_disk_that_forgets_are_named() -> None:
    settings = settings_of(Path("/dev/shm"))
    texts = [each.text for each in check_platform(settings) if each.topic == "file system"]
    assert len(texts) == 1
    assert "is on tmpfs: it is gone with the container" in texts[0]


@pytest.mark.parametrize(
    ("store", "remote", "words"),
    [
        ("sqlite:////srv/clicks.db", "/srv", ["SQLite's locks"]),
        ("sqlite:////srv/clicks.db", "/var", ["wait for the network"]),
        ("sqlite:////srv/clicks.db", "", ["SQLite's locks"]),
        ("postgresql://host/clicks", "/var", ["wait for the network"]),
    ],
    ids=["database", "journal", "both", "no-file"],
)
def test_a_network_disk_is_said_to_harm_what_lies_on_it(
    store: str, remote: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = Mount("ext4", False)
    monkeypatch.setattr(
        setting_up,
        "mount_of",
        lambda folder: Mount("nfs4", False) if str(folder).startswith(remote) else local,
    )
    settings = settings_of(tmp_path, store=store, journal="/var/clicks.journal")
    texts = [each.text for each in check_platform(settings) if each.topic == "file system"]
    assert len(texts) == len(words)
    for text, word in zip(texts, words, strict=True):
        assert word in text


@pytest.mark.parametrize("name", MANY_REPLICAS)
def test_a_host_of_many_replicas_is_told(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "1")
    (told,) = [each for each in check_platform(settings_of(tmp_path)) if each.topic == "replicas"]
    assert told.text.startswith(name)
