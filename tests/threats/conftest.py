"""An install with people and attackers before it: what is asked, what was answered, what was kept."""

from __future__ import annotations

import io
import json
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from clickmw import ClickMW
from clickmw.events import Event, new_query_id
from clickmw.health import difference
from clickmw.recorder import now_ms
from clickmw.tokens import LinkTarget

SECRET = "thirty-two characters or more are fine"
PERSON = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
HOST = "www.example.org"
PAGE = (
    b'<!doctype html><body><ol data-click-module="BWEB" data-click-total="2">'
    b'<li><a data-click href="https://other.example/1">one</a>'
    b'<li><a data-click href="/2">two</a></ol>'
    b'<p class="comment"><a href="https://spam.example/">buy</a></p></body>'
)


class Answer(NamedTuple):
    """What came back: the status as a number, the headers by lower-case name, the body."""

    status: int
    headers: dict[str, str]
    body: bytes
    all_headers: Sequence[tuple[str, str]] = ()

    @property
    def location(self) -> str | None:
        return self.headers.get("location")

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Install:
    """A site with clickmw around it, asked as a WSGI server would ask; ``page`` is what the host answers."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.database = folder / "clicks.db"
        self.page: bytes = PAGE
        self.headers = [("Content-Type", "text/html; charset=utf-8"), ("Cache-Control", "private")]
        given: dict[str, Any] = {
            "secret": SECRET,
            "store": f"sqlite:///{self.database}",
            "redirect_rate": None,
            **settings,
        }
        self.clicks = ClickMW(self.host, **given)
        self.door = self.clicks.door

    def host(self, _environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response("200 OK", self.headers)
        return [self.page]

    # -- asking ------------------------------------------------------------------------------------

    def ask(
        self, path: str, method: str = "GET", body: bytes = b"", query: str = "", **environ: Any
    ) -> Answer:
        """Return the answer to one request; upper-case keywords are keys of the environ."""
        asked = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_LENGTH": str(len(body)) if body else "",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "198.51.100.7",
            "HTTP_HOST": HOST,
            "HTTP_USER_AGENT": PERSON,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            **environ,
        }
        told: list[tuple[str, list[tuple[str, str]]]] = []
        answered = self.clicks(asked, lambda status, headers, *_: told.append((status, headers)))
        try:
            content = b"".join(answered)
        finally:
            getattr(answered, "close", lambda: None)()
        status, headers = told[-1]
        code = int(status[:3])
        # Whatever is asked: no fault of ours, no stack trace.
        assert code < 500 or code == 503, (path, status)
        assert b"Traceback" not in content
        named = {name.lower(): value for name, value in headers}
        return Answer(code, named, content, headers)

    def follow(self, token: str | None = None, **environ: Any) -> Answer:
        return self.ask(f"/_clicks/r/{self.token() if token is None else token}", **environ)

    def post(self, path: str, value: Any, kind: str = "application/json", **environ: Any) -> Answer:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        return self.ask(path, "POST", body, CONTENT_TYPE=kind, **environ)

    def send(self, *payloads: Any, **environ: Any) -> Answer:
        """Report as the snippet does."""
        return self.post("/_clicks/e", list(payloads), "text/plain", **environ)

    def report(self, path: str = "", query: str = "", **environ: Any) -> Answer:
        return self.ask(f"/_clicks/report/{path}", query=query, **environ)

    # -- signing -----------------------------------------------------------------------------------

    def token(self, location: str = "https://other.example/a", days: float = 0, **more: Any) -> str:
        issued = now_ms() - round(days * 86_400_000)
        parts = {"site": "", "position": 3, "module_code": "BWEB", "item": "", **more}
        return self.door.signer.sign_link(
            LinkTarget(
                **{"query_id": new_query_id(issued), "location": location, **parts}  # type: ignore[arg-type]
            )
        )

    # -- what was kept -----------------------------------------------------------------------------

    def keep(self, *events: Event) -> None:
        self.door.recorder.record(*events)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        self.door.routes.open_reader().close()
        with closing(sqlite3.connect(self.database)) as database:
            return database.execute(sql).fetchall()

    def count(self, sql: str) -> int:
        return int(self.rows(sql)[0][0])

    @property
    def counted(self) -> int:
        return self.count("SELECT coalesce(sum(counted), 0) FROM clicks")

    def ledger(self) -> dict[str, Any]:
        self.door.routes.open_reader().close()
        found = self.door.routes.read_health()
        assert difference(found) == 0
        return found

    def close(self) -> None:
        self.door.worker.close()
        self.door.store.close()


Make = Callable[..., Install]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Make an install, settings as keywords."""
    made: list[Install] = []

    def build(**settings: Any) -> Install:
        folder = tmp_path / f"install{len(made)}"
        folder.mkdir(exist_ok=True)
        made.append(Install(folder, **settings))
        return made[-1]

    yield build
    for install in made:
        install.close()


@pytest.fixture
def site(make: Make) -> Install:
    return make()


@pytest.fixture
def open_site(make: Make) -> Install:
    """A site whose report is open to all who ask."""
    return make(report_auth=lambda _environ: True)
