"""clickmw in a Django site: the example served in process by WSGI and ASGI, and its checks."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import importlib.util
import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("django", reason="pip install django")

from django.core import mail
from django.core.management import call_command
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.template import Context, Template
from django.test import AsyncClient, Client, RequestFactory, override_settings

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "django_site.py"
FIREFOX = {"user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}
OWN = {**FIREFOX, "sec-fetch-site": "same-origin"}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("django")


@pytest.fixture(scope="session")
def site(folder: Path) -> ModuleType:
    """The example site, its database made, and an owner who is staff."""
    os.environ["SITE_FOLDER"] = str(folder)
    specification = importlib.util.spec_from_file_location("django_site", EXAMPLE)
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    sys.modules["django_site"] = module
    specification.loader.exec_module(module)
    call_command("migrate", verbosity=0)
    from django.contrib.auth.models import User

    User.objects.create_superuser("owner", "owner@example.org", "the owner's password")
    User.objects.create_user("reader", "reader@example.org", "the reader's password")
    return module


@pytest.fixture(autouse=True)
def _fresh(site: ModuleType, folder: Path) -> Iterator[None]:
    """Begin each test with an install and a database of its own."""
    from clickmw.django.install import door

    yield
    if door.cache_info().currsize:
        door().worker.close()
        door.cache_clear()
    for path in folder.glob("clicks.db*"):
        if path.is_dir():
            for each in path.iterdir():
                each.unlink()
        else:
            path.unlink()


Get = Callable[..., Any]


@pytest.fixture(params=["WSGI", "ASGI"])
def get(request: pytest.FixtureRequest) -> Get:
    """Ask the site, over both of Django's doors; keywords are headers."""
    if request.param == "WSGI":
        client = Client()
        return lambda path, **headers: client.get(path, headers={**FIREFOX, **_dashed(headers)})

    async def ask(path: str, headers: dict[str, str]) -> Any:
        response = await AsyncClient().get(path, headers={**FIREFOX, **headers})
        if response.streaming:
            response.pieces = [piece async for piece in response.streaming_content]
        return response

    return lambda path, **headers: asyncio.run(ask(path, _dashed(headers)))


def _dashed(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def rows(folder: Path, question: str) -> list[Any]:
    """Return what *question* finds in the site's events."""
    from clickmw.django.install import door

    door().worker.catch_up(30.0)
    with closing(sqlite3.connect(folder / "clicks.db")) as database:
        return database.execute(question).fetchall()


def links_in(text: str) -> list[str]:
    return re.findall(r'href="(/_clicks/r/[^"]+)"', text)


# -- pages and clicks --------------------------------------------------------------------------------


def test_a_search_and_a_click_are_counted(get: Get, folder: Path) -> None:
    page = get("/search?q=form").content.decode()
    followed = get(links_in(page)[1], sec_fetch_site="same-origin")

    assert (followed.status_code, followed["Location"]) == (302, "https://example.org/2")
    found = rows(folder, "SELECT query, url, position, module_code, trust, counted FROM clicks")
    assert found == [("form", "https://example.org/2", 2, "WEB", "signed", 1)]
    assert rows(folder, "SELECT query, total_hits, counted FROM searches") == [("form", 2, 1)]


def test_only_links_change_on_a_page(get: Get) -> None:
    page = get("/search?q=map").content.decode()
    plain = re.sub(r'href="/_clicks/r/[^"]+"', 'href="/pages/3"', page)
    assert re.sub(r"<script[^>]*></script>", "", plain) == (
        '<h1>Search</h1><ol data-click-module="WEB" data-click-total="1">'
        '<li><a data-click href="/pages/3">Map</a></li></ol></body>'
    )


def test_the_length_is_that_of_the_new_page(get: Get) -> None:
    page = get("/search?q=form")
    assert page.get("Content-Length", str(len(page.content))) == str(len(page.content))


def test_a_query_in_any_script_arrives_as_typed(get: Get, folder: Path) -> None:
    get("/search?q=%E6%BC%A2%E5%AD%97%F0%9F%90%98")
    assert rows(folder, "SELECT query, total_hits FROM searches") == [("漢字🐘", 0)]


def test_a_page_that_nobody_knows_is_the_sites_own(get: Get) -> None:
    assert get("/nowhere").status_code == 404
    assert get("/_clicks/nowhere").status_code == 404


def test_our_own_routes_answer(get: Get) -> None:
    assert get("/_clicks/health").json()["status"] in ("ok", "healthy")
    script = get("/_clicks/clickmw.js", accept_encoding="gzip")
    assert script["Content-Type"].startswith("text/javascript")
    assert b"sendBeacon" in gzip.decompress(script.content)


def test_a_beacon_is_read_and_answered(get: Get, folder: Path) -> None:
    feedback = [{"t": "feedback", "i": "A" * 16, "y": 8, "q": "form"}]
    sent = Client().post("/_clicks/e", json.dumps(feedback), content_type="text/plain", headers=OWN)
    assert sent.status_code == 204
    assert rows(folder, "SELECT score, query FROM feedback") == [(8, "form")]


def test_a_streamed_page_is_rewritten_as_it_goes(get: Get, site: ModuleType, folder: Path) -> None:
    def streamed(request: HttpRequest) -> StreamingHttpResponse:
        pieces = ['<ol data-click-module="WEB"><li><a da', 'ta-click href="/a">a</a>', "</ol>"]
        if "wsgi.version" in request.META:
            return StreamingHttpResponse(iter(pieces))

        async def later() -> AsyncIterator[str]:
            for piece in pieces:
                yield piece

        return StreamingHttpResponse(later())

    site.urlpatterns.append(site.path("streamed", streamed))
    _forget_urls()
    try:
        response = get("/streamed")
        pieces = getattr(response, "pieces", None) or list(response.streaming_content)
    finally:
        site.urlpatterns.pop()
        _forget_urls()

    assert len(links_in(b"".join(pieces).decode())) == 1
    assert rows(folder, "SELECT count(*) FROM impressions") == [(1,)]


def _forget_urls() -> None:
    from django.urls import clear_url_caches

    clear_url_caches()


def test_a_response_keeps_its_cookies_and_headers(site: ModuleType) -> None:
    from clickmw.django import ClickMWMiddleware

    def view(_request: HttpRequest) -> HttpResponse:
        response = site.search(RequestFactory().get("/search?q=form"))
        response.set_cookie("a", "1")
        response.set_cookie("b", "2")
        response["X-Own"] = "yes"
        return response

    request = RequestFactory().get("/search?q=form", headers=FIREFOX)
    response: Any = ClickMWMiddleware(view)(request)

    assert len(links_in(response.content.decode())) == 2
    assert {name: morsel.value for name, morsel in response.cookies.items()} == {"a": "1", "b": "2"}
    assert response["X-Own"] == "yes"


def test_a_fault_of_the_site_stays_its_own(site: ModuleType) -> None:
    from clickmw.django import ClickMWMiddleware

    def view(_request: HttpRequest) -> HttpResponse:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ClickMWMiddleware(view)(RequestFactory().get("/search", headers=FIREFOX))


# -- template tags -----------------------------------------------------------------------------------

TAGS = """{% load clickmw %}{% click_search "tax" total=2 module="WEB" as page %}
<a href="{% click_link page "/one" %}">1</a><a href="{% click_link page "/two" position=7 %}">2</a>"""


def test_tags_make_links_and_record_what_was_shown(site: ModuleType, folder: Path) -> None:
    from clickmw.django import ClickMWMiddleware

    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(Template(TAGS).render(Context({"request": request})))

    request = RequestFactory().get("/any", headers=FIREFOX)
    response: Any = ClickMWMiddleware(view)(request)

    assert len(links_in(response.content.decode())) == 2
    found = rows(folder, "SELECT query, url, position FROM impressions ORDER BY position")
    assert found == [
        ("tax", "https://testserver/one", 1),
        ("tax", "https://testserver/two", 7),
    ] or (found == [("tax", "/one", 1), ("tax", "/two", 7)])


# -- the report --------------------------------------------------------------------------------------


def test_nobody_sees_the_report_without_signing_in(get: Get) -> None:
    answer = get("/_clicks/report/?period=7d")
    assert answer.status_code == 302
    assert answer["Location"] == "/admin/login/?next=/_clicks/report/%3Fperiod%3D7d"


def test_staff_sees_it(site: ModuleType) -> None:
    client = Client(headers=OWN)
    assert client.login(username="owner", password="the owner's password")
    assert client.get("/_clicks/report/").status_code == 200
    assert client.get("/_clicks/report/overview.json").json()["metrics"]


def test_a_user_who_is_no_staff_does_not(site: ModuleType) -> None:
    client = Client(headers=OWN)
    assert client.login(username="reader", password="the reader's password")
    assert client.get("/_clicks/report/").status_code == 403


def test_the_admin_links_to_it(site: ModuleType) -> None:
    client = Client(headers=OWN)
    client.login(username="owner", password="the owner's password")
    assert 'href="/_clicks/report/"' in client.get("/admin/").content.decode()


# -- settings, checks and commands -------------------------------------------------------------------


def test_settings_come_from_the_dictionary_and_from_django(site: ModuleType, folder: Path) -> None:
    from clickmw.django.install import door

    with override_settings(CLICKMW={"DEDUPE_WINDOW_S": 60}, SECRET_KEY_FALLBACKS=["o" * 40]):
        settings = door().settings
        assert settings.dedupe_window_s == 60
        assert settings.old_secrets == ("o" * 40,)
        assert settings.store == f"sqlite:///{folder / 'clicks.db'}"
        assert settings.sources["secret"] == "Django SECRET_KEY (derived)"


MIDDLE = "clickmw.django.ClickMWMiddleware"
SECURITY = "django.middleware.security.SecurityMiddleware"
GZIP = "django.middleware.gzip.GZipMiddleware"


@pytest.mark.parametrize(
    ("changes", "ids"),
    [
        pytest.param({}, [], id="all is well"),
        pytest.param({"CLICKMW": {"STOER": "x"}}, ["clickmw.E001"], id="a misspelt name"),
        pytest.param({"SECRET_KEY_FALLBACKS": ["short"]}, [], id="a short old key only warns"),
        pytest.param({"MIDDLEWARE": [SECURITY]}, ["clickmw.W001"], id="no middleware"),
        pytest.param({"MIDDLEWARE": [MIDDLE, MIDDLE]}, ["clickmw.E002"], id="twice"),
        pytest.param({"MIDDLEWARE": [GZIP, MIDDLE]}, ["clickmw.W002"], id="after gzip"),
        pytest.param({"MIDDLEWARE": [MIDDLE, SECURITY]}, ["clickmw.W003"], id="before security"),
    ],
)
def test_checks_name_what_is_wrong(
    site: ModuleType, changes: dict[str, Any], ids: list[str]
) -> None:
    from clickmw.django.checks import check_install

    with override_settings(**changes):
        found = check_install(None)
    assert [message.id for message in found] == ids
    assert all(message.hint for message in found)


def test_the_hint_of_a_misspelt_name_names_the_right_one(site: ModuleType) -> None:
    from clickmw.django.checks import check_install

    with override_settings(CLICKMW={"STOER": "x"}):
        (found,) = check_install(None)
    assert 'CLICKMW["STOER"]' in found.msg
    assert "STORE" in found.msg


def test_a_sites_own_tests_are_not_measured(
    site: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail, "outbox", [], raising=False)
    assert links_in(Client(headers=FIREFOX).get("/search?q=form").content.decode()) == []
    with override_settings(CLICKMW={"TESTING": True}):
        page = Client(headers=FIREFOX).get("/search?q=form").content.decode()
    assert len(links_in(page)) == 2


def test_the_command_line_has_the_sites_settings(folder: Path, site: ModuleType) -> None:
    page = Client(headers=FIREFOX).get("/search?q=form").content.decode()
    Client(headers=OWN).get(links_in(page)[0])
    assert rows(folder, "SELECT count(*) FROM clicks") == [(1,)]
    command = [sys.executable, str(EXAMPLE), "clickmw", "report", "--json"]
    ran = subprocess.run(
        command,
        env={**os.environ, "SITE_FOLDER": str(folder)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert json.loads(ran.stdout)["totals"]["clicks"] == 1


@pytest.mark.parametrize(
    ("page", "heading"),
    [("README.md", "Django"), ("docs/howto/django.md", "1. Three lines in the settings")],
)
def test_the_lines_that_people_paste_are_right(site: ModuleType, page: str, heading: str) -> None:
    from django.conf import settings

    from clickmw.django.checks import check_install

    text = (EXAMPLE.parent.parent / page).read_text(encoding="utf-8")
    block = re.search(r"```python\n(.*?)```", text.partition(f"## {heading}\n")[2], re.S)
    assert block
    names = {
        "INSTALLED_APPS": [app for app in settings.INSTALLED_APPS if "clickmw" not in app],
        "MIDDLEWARE": [name for name in settings.MIDDLEWARE if "clickmw" not in name],
    }
    exec(block[1], names)
    names.pop("__builtins__")
    with override_settings(**names):
        assert check_install(None) == []
        page = Client(headers=FIREFOX).get("/search?q=form").content.decode()
    assert len(links_in(page)) == 2


SERVERS = {
    "gunicorn": ["gunicorn", "--threads", "4", "--bind", "127.0.0.1:{port}", "django_site"],
    "uvicorn": ["uvicorn", "--port", "{port}", "django_site:asgi"],
    "runserver": [str(EXAMPLE), "runserver", "--noreload", "127.0.0.1:{port}"],
}


@pytest.mark.parametrize("server", SERVERS)
def test_every_click_through_a_real_server_is_a_row(server: str, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    first, *more = [word.format(port=port) for word in SERVERS[server]]
    command = [sys.executable, *(["-m", first] if first.isalpha() else [first]), *more]
    environ = {**os.environ, "SITE_FOLDER": str(tmp_path), "PYTHONPATH": str(EXAMPLE.parent)}
    environ["CLICKMW_REDIRECT_RATE"] = "0"  # a hundred clicks come from one address
    with open(tmp_path / "log.txt", "wb") as log:
        process = subprocess.Popen(command, env=environ, cwd=tmp_path, stdout=log, stderr=log)
    try:
        page = _ask(port, "/search?q=form", patience_s=60.0)[1]
        for _ in range(50):
            for link in links_in(page):
                assert _ask(port, link)[0] == 302
    finally:
        process.terminate()
        process.wait(20)
    drain = [sys.executable, str(EXAMPLE), "clickmw", "drain", "--once"]
    subprocess.run(drain, env=environ, cwd=tmp_path, check=True, timeout=60, capture_output=True)
    with closing(sqlite3.connect(tmp_path / "clicks.db")) as database:
        found = database.execute("SELECT count(*), sum(counted) FROM clicks").fetchall()
    assert found == [(100, 2)]


def _ask(port: int, path: str, patience_s: float = 0.0) -> tuple[int, str]:
    """Return status and body; wait that long for a server that is still starting."""
    until = time.monotonic() + patience_s
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            connection.request("GET", path, headers=OWN)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except ConnectionRefusedError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
        finally:
            connection.close()


def test_a_file_is_left_alone(site: ModuleType, tmp_path: Path) -> None:
    from django.http import FileResponse

    from clickmw.django import ClickMWMiddleware

    path = tmp_path / "picture.png"
    path.write_bytes(b"\x89PNG" * 1000)
    response: Any = ClickMWMiddleware(lambda _request: FileResponse(path.open("rb")))(
        RequestFactory().get("/picture.png", headers=FIREFOX)
    )
    assert b"".join(response.streaming_content) == path.read_bytes()
    response.close()
    assert response["Content-Length"] == "4000"
