"""Settings: where they come from, what they may be, and what is said when they are wrong."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from clickmw import settings as module
from clickmw.errors import SettingsError
from clickmw.settings import Settings, store_kinds
from clickmw.sites import Advertiser, Key, Network, Publisher, Rule, Site

SECRET = "s3cret-" * 5
OTHER = "0ther-s3cret-" * 3


def load(environ: Mapping[str, str] = {}, **keywords: Any) -> Settings:
    return Settings.load({"secret": SECRET} | keywords, environ=environ)


def refusal(environ: Mapping[str, str] = {}, **keywords: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        load(environ, **keywords)
    assert SECRET not in str(caught.value)
    return str(caught.value)


def test_a_secret_is_all_that_is_needed() -> None:
    found = load()
    assert (found.store, found.prefix, found.keep_days) == ("sqlite:///clicks.db", "/_clicks", 395)
    assert found == Settings(secret=SECRET)


def test_every_setting_has_a_reader() -> None:
    assert [one.name for one in fields(Settings)] == [*module._READS, "sources"]


def test_every_default_is_a_value_that_may_be_written() -> None:
    found = load()
    for name, read in module._READS.items():
        value = getattr(found, name)
        assert value is None or read(value) == value


def write(folder: Path, text: str) -> str:
    path = folder / "clickmw.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_the_nearest_place_wins(tmp_path: Path) -> None:
    config = write(tmp_path, "keep_days = 2\nquery_param = 'file'\nmin_visitors = 9\nprefix = '/f'")
    found = Settings.load(
        {"keep_days": 5},
        framework={"CLICKMW_KEEP_DAYS": 4, "CLICKMW_QUERY_PARAM": "framework"},
        framework_name="Flask",
        derived={"secret": SECRET, "prefix": "/derived"},
        environ={"CLICKMW_KEEP_DAYS": "3", "CLICKMW_CONFIG": config, "CLICKMW_MIN_VISITORS": "8"},
    )
    assert (found.keep_days, found.query_param, found.min_visitors, found.prefix) == (
        5,
        "framework",
        8,
        "/f",
    )
    assert {name: found.sources[name] for name in ("keep_days", "query_param", "min_visitors")} == {
        "keep_days": "keyword",
        "query_param": "Flask CLICKMW_QUERY_PARAM",
        "min_visitors": "environment CLICKMW_MIN_VISITORS",
    }
    assert found.sources["prefix"] == f"file {config}"
    assert found.sources["secret"] == "Flask SECRET_KEY (derived)"
    assert found.sources["debug"] == "default"


def test_django_names_its_settings_in_a_dict() -> None:
    found = Settings.load(
        framework={"SECRET": SECRET, "debug": True}, framework_name="Django", environ={}
    )
    assert found.sources["debug"] == 'Django CLICKMW["DEBUG"]'


def test_nothing_is_set_by_none_or_by_empty_text_in_the_environment() -> None:
    found = load({"CLICKMW_STORE": " ", "CLICKMW_PREFIX": ""}, store=None, prefix=None)
    assert (found.store, found.prefix) == ("sqlite:///clicks.db", "/_clicks")


@pytest.mark.parametrize("off", [None, 0, "0"])
def test_no_rate_turns_the_limit_off(off: object) -> None:
    assert load(redirect_rate=off).redirect_rate is None


def test_structured_values_are_json_in_the_environment() -> None:
    found = load(
        {
            "CLICKMW_SITES": '[{"handle": "a", "hosts": ["A.example"]}]',
            "CLICKMW_TARGET_HOSTS": '["b.example", "intranet"]',
            "CLICKMW_OLD_SECRETS": json.dumps([OTHER]),
        }
    )
    assert found.sites.for_host("a.example") == Site(handle="a", hosts=("a.example",))
    assert found.target_hosts == frozenset({"b.example", "intranet"})
    assert found.old_secrets == (OTHER,)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", True), ("TRUE", True), ("yes", True), ("0", False), ("false", False), ("No", False)],
)
def test_the_environment_says_yes_and_no_in_three_ways(text: str, value: bool) -> None:
    assert load({"CLICKMW_DEBUG": text}).debug is value


DESIGN_SITE = """
secret = "at least 32 characters, and these are"
store = "sqlite:///clicks.db"
native_paths = true
admin_password = "a password of the tests"
keys = [ { key = "k0", scope = "admin" } ]      # sees every site

[[sites]]
handle = "nps.gov"            # the name of the site everywhere
name = "National Park Service"
hosts = ["www.nps.gov"]
time_zone = "America/New_York"
access_key = "basic_key"
index_key = "testkey"
tracking_key = "K1"
publisher = { id = 45, name = "Example Publisher" }
api_keys = [ { key = "k1", scope = "read" } ]
modules = { XYZ = "My block" }
[[sites.advertisers]]
id = 123
name = "Alpha Store"
slug = "alpha-store"
network = { id = 7, name = "Awin" }
hosts = ["alpha.example"]
ad_ids = ["4a94bc6e-7db1-425f-8430-cb4d17488b3b"]

[[rules]]
path = "/search"
container = "ol.results"
item = "li"
link = "a.title"
module = "BWEB"
site = "nps.gov"
"""


def test_a_file_describes_sites_and_rules(tmp_path: Path) -> None:
    found = Settings.load({"config": write(tmp_path, DESIGN_SITE)}, environ={})
    advertiser = Advertiser(
        id=123,
        name="Alpha Store",
        slug="alpha-store",
        network=Network(id=7, name="Awin"),
        hosts=("alpha.example",),
        ad_ids=("4a94bc6e-7db1-425f-8430-cb4d17488b3b",),
    )
    assert found.sites.all == (
        Site(
            handle="nps.gov",
            name="National Park Service",
            hosts=("www.nps.gov",),
            time_zone="America/New_York",
            access_key="basic_key",
            index_key="testkey",
            tracking_key="K1",
            publisher=Publisher(id=45, name="Example Publisher"),
            api_keys=(Key(key="k1"),),
            modules={"XYZ": "My block"},
            advertisers=(advertiser,),
        ),
    )
    assert found.rules == (
        Rule(
            path="/search", container="ol.results", item="li", link="a.title", module="BWEB", site="nps.gov"
        ),
    )  # fmt: skip
    assert found.keys == (Key(key="k0", scope="admin"),)


def test_sites_are_objects_as_well_as_tables() -> None:
    site = Site(handle="a", hosts=("a.example",), api_keys=(Key(key="k"),))
    assert load(sites=[site]).sites.all == (site,)


@pytest.mark.parametrize(
    ("store", "journal"),
    [
        ("sqlite:///clicks.db", "clicks.db.journal"),
        ("sqlite:///var/clicks", "var/clicks.journal"),
        ("sqlite:////srv/clicks.db", "/srv/clicks.db.journal"),
    ],
)
def test_the_journal_lies_beside_the_database(store: str, journal: str) -> None:
    assert load(store=store).journal == Path(journal)


def test_a_store_without_a_file_keeps_its_journal_in_the_working_folder() -> None:
    found = Settings(secret=SECRET, store="other://server/clicks")
    assert (found.database, found.journal) == (None, Path("clickmw.journal"))


def test_a_journal_of_ones_own_is_kept() -> None:
    assert load(journal="spool").journal == Path("spool")
    assert load(journal=".").journal == Path()


def test_stores_are_found_by_folder() -> None:
    assert "sqlite" in store_kinds()
    assert "base" not in store_kinds()
    assert not [kind for kind in store_kinds() if kind.startswith("_")]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("positon", 1, "unknown setting 'positon'"),
        ("keep_day", 1, "did you mean 'keep_days'?"),
        ("store", "sqlit:///x.db", "did you mean 'sqlite'?"),
        ("store", "clicks.db", "Write 'sqlite:///clicks.db'"),
        ("store", "sqlite:///", "names no file"),
        ("prefix", "clicks", "Write '/clicks'"),
        ("prefix", "/clicks/", "Write '/clicks'"),
        ("prefix", "/", "Write '/_clicks'"),
        ("prefix", "/a/../b", "prefix='/a/../b' (keyword)"),
        ("prefix", "/a?b", "cannot be used"),
        ("keep_days", 0, "from 1 to 36500"),
        ("keep_days", "many", "whole number"),
        ("keep_days", True, "whole number"),
        ("trusted_proxies", -1, "from 0 to"),
        ("debug", "perhaps", "True or False"),
        ("debug", 2, "yes or no"),
        ("durability", "powr", "did you mean 'power'?"),
        ("visitor", "weekly", "'daily', 'none'"),
        ("optout", True, "'drop', 'anonymous', 'ignore'"),
        ("time_zone", "Europe/Berln", "did you mean 'Europe/Berlin'?"),
        ("time_zone", "../etc/passwd", "no time zone"),
        ("time_zone", "America", "no time zone"),
        ("report_auth", "myapp.check", "in code only"),
        ("scrub", ["x"], "in code only"),
        ("target_hosts", "a.example", "must be a list"),
        ("target_hosts", ["https://a.example/"], "target_hosts[0]='https://a.example/'"),
        ("allowed_origins", ["a.example"], "'https://www.example.org'"),
        ("allowed_origins", ["*"], "not an origin"),
        ("count_trust", ["signd"], "did you mean 'signed'?"),
        ("sites", [{"name": "x"}], "sites[0] (keyword) cannot be used: its handle is missing"),
        ("sites", [{"handle": "a", "hots": []}], "did you mean 'hosts'?"),
        ("sites", [{"handle": "a b"}], "sites[0].handle='a b'"),
        ("sites", [{"handle": "x" * 65}], "not a site handle"),
        ("sites", [{"handle": "a"}, {"handle": "b"}], "'a', 'b' have no hosts"),
        ("sites", [{"handle": "a"}, {"handle": "a", "hosts": ["a.example"]}], "two sites are called 'a'"),
        ("rules", [{"path": "/s", "container": "*", "link": "a", "module": "B"}], "not a simple CSS selector"),
        ("rules", [{"path": "/s", "container": "ol", "link": "* a", "module": "B"}], "not a simple CSS selector"),
        ("sites", [{"handle": "a", "modules": {"a b": "x"}}], "not a module code"),
        ("sites", [{"handle": "a", "time_zone": "Mars"}], "sites[0].time_zone='Mars'"),
        ("sites", [{"handle": "a", "api_keys": [{"key": "k", "scope": "rea"}]}], "did you mean 'read'?"),
        ("sites", [{"handle": "a", "publisher": {"id": "x", "name": "n"}}], "sites[0].publisher.id='x'"),
        ("sites", ["a"], "must be a Site or a table"),
        ("rules", [{"path": "search", "container": "ol", "link": "a", "module": "BWEB"}], "rules[0].path='search'"),
        ("rules", [{"path": "/s", "container": "ol > li", "link": "a", "module": "BWEB"}], "rules[0].container"),
        ("rules", [{"path": "/s", "container": "ol", "link": "a", "module": "B WEB"}], "rules[0].module"),
        ("rules", [{"path": "/s", "container": "ol", "link": "a", "module": "B", "site": "x"}], "rules[0].site='x'"),
        ("rules", [{"path": "/s"}], "its container is missing"),
        ("config", "/no/such/file.toml", "/no/such/file.toml (keyword) cannot be read: No such file"),
    ],
    ids=lambda part: str(part)[:40],
)  # fmt: skip
def test_a_wrong_value_is_refused_with_what_to_write(name: str, value: Any, expected: str) -> None:
    assert expected in refusal(**{name: value})


def test_a_wrong_value_is_refused_with_its_source() -> None:
    assert "keep_days='x' (environment CLICKMW_KEEP_DAYS)" in refusal({"CLICKMW_KEEP_DAYS": "x"})


def test_an_unknown_name_in_the_framework_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"Flask CLICKMW_STOER \(did you mean 'STORE'\?\)"):
        Settings.load(framework={"CLICKMW_STOER": "x"}, framework_name="Flask", environ={})


def test_an_unknown_name_in_the_environment_only_warns(caplog: pytest.LogCaptureFixture) -> None:
    load({"CLICKMW_STOER": "x", "OTHER": "y"})
    assert [record.getMessage() for record in caplog.records] == [
        "unknown environment name CLICKMW_STOER is ignored (did you mean 'CLICKMW_STORE'?)"
    ]


def test_an_unknown_name_in_the_file_is_refused(tmp_path: Path) -> None:
    message = refusal(config=write(tmp_path, "stor = 'x'"))
    assert "clickmw.toml (did you mean 'store'?)" in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a = 1\nb = \n", "line 2"), ("config = 'x'", "unknown setting 'config'")],
)
def test_a_broken_file_is_named_with_its_line(tmp_path: Path, text: str, expected: str) -> None:
    message = refusal(config=write(tmp_path, text))
    assert "clickmw.toml" in message
    assert expected in message


def test_a_file_in_another_encoding_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "latin.toml"
    path.write_bytes(b"a = 1\nb = '\xe9'\n")
    assert "latin.toml is not UTF-8 text (line 2)" in refusal(config=path)


def test_json_that_cannot_be_read_is_named_without_its_text() -> None:
    message = refusal({"CLICKMW_KEYS": '[{"key": "hidden-1",}]'})
    assert "keys (environment CLICKMW_KEYS)" in message
    assert "line 1, column 21" in message
    assert "hidden" not in message


@pytest.mark.parametrize("given", [{}, {"secret": None}])
def test_a_missing_secret_is_refused_with_how_to_make_one(given: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="CLICKMW_SECRET"):
        Settings.load(given, derived={"secret": ""}, environ={})


@pytest.mark.parametrize(
    ("old", "expected"),
    [
        (["short"], "old_secrets (keyword) has 5 characters"),
        ([SECRET], "stands twice"),
        ([OTHER, OTHER], "stands twice"),
        ([OTHER + str(n) for n in range(5)], "these are 6 keys"),
    ],
    ids=["short", "the secret again", "twice", "too many"],
)
def test_old_secrets_that_harm_are_refused(old: list[str], expected: str) -> None:
    message = refusal(old_secrets=old)
    assert expected in message
    assert OTHER not in message


def test_a_short_secret_is_refused() -> None:
    assert "secret (keyword) has 5 characters" in refusal(secret="short")


def test_a_short_secret_of_the_framework_only_warns(caplog: pytest.LogCaptureFixture) -> None:
    found = Settings.load(derived={"secret": b"dev"}, framework_name="Flask", environ={})
    assert found.secret == "dev"
    assert "Flask SECRET_KEY (derived)) has 3 characters" in caplog.text
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_settings_never_show_what_is_secret() -> None:
    found = load(
        old_secrets=[OTHER],
        admin_password="hidden-1",
        keys=[{"key": "hidden-2"}],
        sites=[{"handle": "a", "access_key": "hidden-3", "api_keys": [{"key": "hidden-4"}]}],
    )
    shown = repr(found) + str(found) + repr(dict(found.sources))
    assert not [text for text in ("hidden", SECRET, OTHER) if text in shown]
    assert "prefix='/_clicks'" in shown


@pytest.mark.parametrize(
    "wrong",
    [
        {"store": "postgrse://user:hidden-1@server/db"},
        {"keys": [{"key": "hidden-1", "scop": "read"}]},
        {"keys": [{"key": "hidden-1", "scope": "?"}]},
        {"keys": "hidden-1"},
        {"keys": ["hidden-1"]},
        {"old_secrets": "hidden-1"},
        {"old_secrets": ["hidden-1"]},
        {"secret": "hidden-1"},
        {"secret": {"hidden-1": 1}},
        {"admin_password": ["hidden-1"]},
        {"sites": [{"handle": "a", "access_key": ["hidden-1"]}]},
        {"sites": [{"handle": "a", "api_keys": "hidden-1"}]},
        {"sites": [{"handle": "a", "api_keys": ["hidden-1"]}]},
        {"sites": {"access_key": "hidden-1"}},
        {"sites": [["hidden-1"]]},
    ],
    ids=str,
)
def test_a_refusal_never_shows_what_is_secret(wrong: dict[str, Any]) -> None:
    assert "hidden" not in refusal(**wrong)


@pytest.mark.parametrize("name", ["index_key", "tracking_key"])
def test_two_sites_with_one_public_key_are_refused(name: str) -> None:
    sites = [
        {"handle": "a", "hosts": ["a.example"], name: "hidden-1"},
        {"handle": "b", "hosts": ["b.example"], name: "hidden-2"},
        {"handle": "c", name: "hidden-1"},
    ]
    message = refusal(sites=sites)
    assert f"sites (keyword) cannot be used: the {name} of 'a', 'c' is the same" in message
    assert f"Write a {name} of its own for each." in message
    assert "hidden" not in message


def test_sites_may_share_what_never_decides_alone() -> None:
    site = {"hosts": ["a.example"], "access_key": "k", "index_key": "k", "tracking_key": "k"}
    sites = load(sites=[{"handle": "a", **site}, {"handle": "b", "access_key": "k"}]).sites
    assert [each.access_key for each in sites.all] == ["k", "k"]


@pytest.mark.parametrize(
    ("keys", "of_a", "of_b", "where"),
    [
        (["hidden-1", "hidden-1"], [], [], "twice in keys,"),
        (["hidden-1"], ["hidden-1"], [], "twice in keys and in the api_keys of 'a',"),
        ([], ["hidden-1"], ["hidden-1"], "in the api_keys of 'a' and in the api_keys of 'b',"),
        ([], ["hidden-1", "hidden-1"], [], "twice in the api_keys of 'a',"),
    ],
    ids=["install", "install and site", "two sites", "one site"],
)
def test_a_key_that_opens_two_things_is_refused(
    keys: list[str], of_a: list[str], of_b: list[str], where: str
) -> None:
    def tables(texts: list[str]) -> list[dict[str, str]]:
        scopes = ["read", "ingest"]
        return [{"key": text, "scope": scopes[at]} for at, text in enumerate(texts)]

    sites = [
        {"handle": "a", "hosts": ["a.example"], "api_keys": tables(of_a)},
        {"handle": "b", "api_keys": tables(of_b)},
    ]
    message = refusal(keys=tables(keys), sites=sites)
    assert where in message
    assert "hidden" not in message


def test_settings_load_nothing_heavy() -> None:
    program = (
        "import sys, clickmw.settings as s; s.Settings.load({'secret': 'x' * 32}, environ={});"
        "print(*{'werkzeug', 'jinja2', 'click', 'sqlite_utils'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_the_link_of_a_rule_may_stand_inside_something() -> None:
    rule = {"path": "/search", "container": "ol", "link": "h3  a.title", "module": "BWEB"}
    assert (
        Settings.load({"secret": SECRET, "rules": [rule]}, environ={}).rules[0].link == "h3 a.title"
    )
