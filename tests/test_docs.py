"""The documentation says what the code does: lists are compared, examples are run, links lead somewhere."""

from __future__ import annotations

import ast
import dataclasses
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from webtest import TestApp

from clickmw import ClickMW, compat, queries, wire
from clickmw.catalog import PAGES as REPORT_PAGES
from clickmw.catalog import PANELS
from clickmw.cli import main
from clickmw.counting import (
    IMPRESSION_WINDOW_MS,
    ORDER_WINDOW_MS,
    Walked,
    decide_clicks,
    decide_searches,
)
from clickmw.module_codes import MODULE_CODES
from clickmw.settings import Settings
from clickmw.sites import Site
from clickmw.stores import open_store
from clickmw.stores.base import StoreOptions

CHECKOUT = Path(__file__).resolve().parent.parent
DOCS = CHECKOUT / "docs"
PAGES = [*sorted(CHECKOUT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]
NAMES = [str(page.relative_to(CHECKOUT)) for page in PAGES]
NOTES = sorted((DOCS / "adr").glob("*.md"))
PASSWORD = "a password of the tests"
LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")


def read(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def section(page: str, heading: str) -> str:
    """Return the text below the second-level *heading* of *page*."""
    parts = re.split(r"^## +", read(page), flags=re.M)
    return next(part.partition("\n")[2] for part in parts if part.partition("\n")[0] == heading)


def tables(text: str) -> list[list[list[str]]]:
    """Return the tables of *text*: rows of cells, without head and line."""
    found = re.findall(r"(?:^\|.*\n)+", text, flags=re.M)
    rows = [[line.strip("|").split("|") for line in table.splitlines()[2:]] for table in found]
    return [[[cell.strip() for cell in row] for row in table] for table in rows]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)


# --- settings ------------------------------------------------------------------------------------

SETTINGS = {names(row[0])[0]: row[1] for row in tables(read("reference/settings.md"))[0]}
DERIVED = {"secret": "required", "journal": "beside the database", "sites": "one site, `default`"}


def test_the_settings_page_has_every_setting_in_order() -> None:
    fields = [field.name for field in dataclasses.fields(Settings) if field.name != "sources"]
    assert list(SETTINGS) == fields


@pytest.mark.parametrize("name", [name for name in SETTINGS if name not in DERIVED])
def test_the_settings_page_has_the_default(name: str) -> None:
    value = getattr(Settings(secret="s" * 32), name)
    said: Any = () if SETTINGS[name] == "empty" else ast.literal_eval(names(SETTINGS[name])[0])
    assert said == (tuple(value) if value in ((), frozenset()) else value)


def test_what_the_settings_page_says_in_words_is_so() -> None:
    settings = Settings(secret="s" * 32)
    assert {name: SETTINGS[name] for name in DERIVED} == DERIVED
    assert [site.handle for site in settings.sites.all] == ["default"]
    assert settings.journal == Path("clicks.db.journal")


def test_the_settings_page_has_every_field_of_a_site() -> None:
    rows = tables(section("reference/settings.md", "Several sites"))[0]
    said = [name for row in rows for name in names(row[0])]
    assert sorted(said) == sorted(field.name for field in dataclasses.fields(Site))


def test_the_settings_file_of_the_page_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "clickmw.toml"
    path.write_text(blocks(DOCS / "reference/settings.md", "toml")[0])
    settings = Settings.load({"config": path}, environ={})
    assert [site.handle for site in settings.sites.all] == ["www", "intranet"]
    assert settings.rules[0].site == "www"


def test_the_sites_of_the_page_have_keys_as_it_shows(tmp_path: Path) -> None:
    path = tmp_path / "clickmw.toml"
    path.write_text(blocks(DOCS / "reference/settings.md", "toml")[1])
    (shop,) = Settings.load({"config": path}, environ={}).sites.all
    given = [
        name for name in (field.name for field in dataclasses.fields(Site)) if getattr(shop, name)
    ]
    missing = {"name", "time_zone", "modules"}
    assert set(given) == {field.name for field in dataclasses.fields(Site)} - missing


def test_the_number_of_known_module_codes_is_so() -> None:
    assert f"the {len(MODULE_CODES)} codes of Search.gov" in read("reference/settings.md")


# --- views ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "clicks.db"
    store = open_store(f"sqlite:///{path}", StoreOptions())
    store.migrate()
    store.close()
    return path


def query(database: Path, sql: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(database)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def test_the_views_page_has_every_view(database: Path) -> None:
    views = query(database, "SELECT name FROM sqlite_schema WHERE type = 'view' ORDER BY name")
    headings = re.findall(r"^## (\w+)$", read("reference/views.md"), flags=re.M)
    assert sorted(headings) == [name for (name,) in views]


VIEWS = ["clicks", "searches", "impressions", "feedback", "answers", "conversions", "daily_clicks"]


@pytest.mark.parametrize("view", VIEWS)
def test_the_views_page_has_every_column_in_order(view: str, database: Path) -> None:
    said = [names(row[0])[0] for row in tables(section("reference/views.md", view))[0]]
    assert said == [row[1] for row in query(database, f"PRAGMA table_info({view})")]


@pytest.mark.parametrize("sql", blocks(DOCS / "reference/views.md", "sql"))
def test_the_queries_of_the_views_page_run(sql: str, database: Path) -> None:
    assert query(database, sql) == []


# --- command line --------------------------------------------------------------------------------

COMMANDS: dict[str, click.Command] = main.commands


def test_the_command_page_has_every_command() -> None:
    headings = re.findall(r"^## (\w+)$", read("reference/cli.md"), flags=re.M)
    assert sorted(headings) == sorted(COMMANDS)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_command_page_has_every_option_with_its_default(name: str) -> None:
    rows = [row for table in tables(section("reference/cli.md", name)) for row in table]
    said = {name: row[1] for row in rows for name in names(row[0])}
    options = [each for each in COMMANDS[name].params if isinstance(each, click.Option)]
    assert sorted(said) == sorted(option.opts[0] for option in options)
    for option in options:
        default = option.to_info_dict()["default"]  # None where there is none
        words = {"off"} if option.is_flag else {"" if default is None else str(default), "all"}
        assert said[option.opts[0]] in words, option.opts[0]


def test_the_command_page_has_the_options_before_the_command() -> None:
    said = [names(row[0])[0] for row in tables(read("reference/cli.md"))[0]]
    assert sorted(said) == sorted([*(option.opts[0] for option in main.params), "--help"])


# --- routes --------------------------------------------------------------------------------------


def host(_environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"the host"]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[TestApp]:
    store = f"sqlite:///{tmp_path / 'clicks.db'}"
    site = TestApp(ClickMW(host, secret="s" * 32, store=store, admin_password=PASSWORD))
    site.authorization = ("Basic", ("anybody", PASSWORD))
    yield site
    site.app.door.worker.close()


def test_the_routes_page_has_every_path_of_the_click_apis(site: TestApp) -> None:
    rows = tables(section("reference/routes.md", "Click APIs"))[0]
    documented = {
        f"{method.upper()} {endpoint.path}"
        for _, endpoint in site.app.door.routes.protocols
        for method in endpoint.operations
    }
    said = {names(row[0])[0] for row in rows}
    assert said <= documented
    assert {route.split()[1] for route in said} == {route.split()[1] for route in documented}


def test_every_route_of_the_page_answers(site: TestApp) -> None:
    rows = tables(read("reference/routes.md"))[0]
    routes = [names(row[0])[0].split() for row in rows if "<" not in row[0]]
    answers = {path: site.request(f"/_clicks/{path}", method=how).status for how, path in routes}
    assert set(answers.values()) == {"200 OK", "204 No Content"}, answers


def test_the_routes_page_has_every_panel(site: TestApp) -> None:
    said = [names(row[0])[0] for row in tables(section("reference/routes.md", "The report"))[0]]
    assert sorted(said) == sorted([*PANELS, *REPORT_PAGES, "overview", "definitions"])


def test_the_routes_page_has_every_field_of_health(site: TestApp) -> None:
    said = [names(row[0])[0] for row in tables(section("reference/routes.md", "Health"))[0]]
    assert said == list(site.get("/_clicks/health").json)


# --- click APIs ----------------------------------------------------------------------------------

PROTOCOLS = sorted(
    path.stem for path in (CHECKOUT / "clickmw/compat").glob("*.py") if path.stem[0] != "_"
)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_click_api_is_one_module_one_test_and_one_page(name: str) -> None:
    assert (CHECKOUT / f"tests/compat/test_{name}.py").exists()
    assert read(f"compat/{name}.md").startswith("# ")


def test_every_page_of_a_click_api_belongs_to_a_module() -> None:
    pages = {path.stem for path in (DOCS / "compat").glob("*.md")} - {"index"}
    assert sorted(pages - set(PROTOCOLS)) == []


def test_the_page_of_click_apis_has_every_source() -> None:
    from clickmw.compat import find_protocols

    text = read("compat/index.md")
    linked = {path.removesuffix(".md") for path in LINK.findall(text) if "/" not in path}
    assert sorted(linked) == PROTOCOLS
    sources = {names(row[2])[0] for row in tables(text)[0] if names(row[2])}
    reading = {"hienergy"}  # answers with numbers and takes no events in
    assert sources == {each.name for each in find_protocols()} - reading


def test_the_page_of_click_apis_has_the_limits() -> None:
    limits = {row[0]: row[1] for row in tables(section("compat/index.md", "Limits"))[0]}
    said = {
        "body": f"{wire.BODY_LIMIT:,} bytes",
        "query string, form": f"{wire.FIELDS_LIMIT} parameters",
        "JSON": f"{wire.DEPTH_LIMIT} levels",
        "URL": f"{compat.URL_LIMIT:,} characters",
        "title": f"{compat.TITLE_LIMIT} characters",
        "session": f"{compat.SESSION_LIMIT} characters",
        "query": f"{queries.RAW_LIMIT:,} characters are read, {queries.NORMAL_LIMIT} kept",
        "position": f"{compat.POSITION_LIMIT:,}",
    }
    assert {name: limits[name][: len(limit)] for name, limit in said.items()} == said


# --- explanation ---------------------------------------------------------------------------------


def test_the_clicks_of_the_counting_page_count_as_it_says() -> None:
    rows = tables(section("explanation/counting.md", "What a click is"))[0]
    times = [int(minute) * 60_000 for minute, _counts in rows]
    assert decide_clicks(times, 30 * 60_000) == [counts == "yes" for _minute, counts in rows]


def test_the_searches_of_the_counting_page_count_as_it_says() -> None:
    rows = tables(section("explanation/counting.md", "What a search is"))[1]
    walk = [
        Walked(int(second) * 1000, bytes([at]), bytes([at]), names(text)[0], int(offset))
        for at, (second, text, offset, _verdict) in enumerate(rows)
    ]
    verdicts = [decision.drop_reason or "counted" for decision in decide_searches(walk)]
    assert verdicts == [row[3] for row in rows]


def test_the_windows_of_the_counting_page_are_those_in_force() -> None:
    rows = tables(section("explanation/counting.md", "Clicks of senders"))[0]
    settings = Settings(secret="s" * 32)
    assert [int(window.split()[0]) for _what, window in rows] == [
        settings.dedupe_window_s // 60,
        settings.ad_dedupe_window_s // 60,
        IMPRESSION_WINDOW_MS // 60_000,
        ORDER_WINDOW_MS // 86_400_000,
    ]


def test_the_story_of_a_click_names_every_module() -> None:
    modules = {path.stem for path in (CHECKOUT / "clickmw").glob("*.py")} - {"__init__", "__main__"}
    assert sorted(modules - set(names(read("explanation/one-click.md")))) == []


# --- all pages -----------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ +(.+)$", page.read_text(encoding="utf-8"), flags=re.M)
    words = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {each.replace(" ", "-") for each in words}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_link_leads_somewhere(page: Path) -> None:
    for address in LINK.findall(page.read_text(encoding="utf-8")):
        if address.startswith("https://"):
            continue
        path, _, anchor = address.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), address
        assert not anchor or anchor in anchors(target), address


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_python_example_is_python(page: Path) -> None:
    for block in blocks(page, "python"):
        ast.parse(block)


def test_every_page_is_reached_from_the_index() -> None:
    reached = {
        (index.parent / path.partition("#")[0]).resolve()
        for index in (DOCS / "index.md", DOCS / "compat" / "index.md")
        for path in LINK.findall(index.read_text(encoding="utf-8"))
    }
    pages = {page for page in DOCS.rglob("*.md") if page.parent != DOCS / "adr"}
    assert pages - reached == {DOCS / "index.md"}


# --- decisions -----------------------------------------------------------------------------------


def test_decisions_are_numbered_without_gaps() -> None:
    assert [int(note.name[:4]) for note in NOTES] == list(range(1, len(NOTES) + 1))


@pytest.mark.parametrize("note", NOTES, ids=[note.stem for note in NOTES])
def test_a_decision_is_short_and_names_its_price(note: Path) -> None:
    text = note.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 30
    words = ["**Situation.**", "**Choice.**", "**Given up.**", "**What would change our mind.**"]
    assert [word for word in words if word not in text] == []
    assert re.match(rf"# {int(note.name[:4])}\. \S", text)
