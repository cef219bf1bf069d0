"""F1 to F3: what one request costs in process, our own and the host's."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import flask

from benchmarks.rewriting import PAGES
from benchmarks.rounds import Row, Spread, at_most, at_reference, interleaved, ratios, spread
from benchmarks.traffic import SECRET, environ, link_paths
from clickmw import ClickMW
from clickmw.drain import DrainLock

Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


def run(quick: bool) -> list[Row]:
    """Return the rows F1 to F3, and R: a page of results on its way through."""
    return [*passing_through(quick), *redirecting(quick), rewriting_signed(quick)]


# -- requests that are not ours --------------------------------------------------------------------


def passing_through(quick: bool) -> list[Row]:
    """Return F1: a host's answers with and without clickmw around it."""
    calls, rounds = (20_000, 5) if quick else (50_000, 9)
    fetched = environ("/api/state", HTTP_ACCEPT="*/*")
    read = environ("/about")
    with TemporaryDirectory() as folder:
        wrapped = clicks_around(hello, Path(folder))
        flask_app = flask_hello()
        few = calls // 20
        taken = interleaved(
            {
                "bare, fetched": lambda: serve(hello, fetched, calls),
                "ours, fetched": lambda: serve(wrapped, fetched, calls),
                "bare, read": lambda: serve(hello, read, calls),
                "ours, read": lambda: serve(wrapped, read, calls),
                "flask": lambda: serve(flask_app, read, few),
            },
            rounds=rounds,
            per={name: few if name == "flask" else calls for name in NAMES},
        )
        wrapped.door.worker.close()
    return [row for kind in ("fetched", "read") for row in _passing_rows(taken, kind)]


NAMES = ("bare, fetched", "ours, fetched", "bare, read", "ours, read", "flask")
WHAT = {
    "fetched": "pass-through: a path that is known to be no page",
    "read": "pass-through: an HTML page without marked links",
}


def _passing_rows(taken: dict[str, list[float]], kind: str) -> Iterator[Row]:
    pairs = zip(taken[f"ours, {kind}"], taken[f"bare, {kind}"], strict=True)
    added = [ours - bare for ours, bare in pairs]
    share = ratios(added, taken["flask"])
    more = at_reference({**taken, "added": added}, "added")
    # A page has to be looked at; what may cost next to nothing is everything else.
    wanted = kind == "fetched"
    base = f"bare WSGI app: {spread(taken[f'bare, {kind}'])} µs"
    yield Row(
        "F1", WHAT[kind], base, f"+{spread(added)} µs; at reference speed {more}", "≤ 0.3 µs" if wanted else "–",
        at_most(more, 0.3) if wanted else "–",
    )  # fmt: skip
    percent = Spread(*(100 * value for value in share))
    base = f"Flask hello: {spread(taken['flask'])} µs"
    yield Row("F1", WHAT[kind], base, f"{percent} %", "≤ 3 %", at_most(percent, 3))


def hello(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer a page, or JSON to a script."""
    is_page = "text/html" in environ["HTTP_ACCEPT"]
    kind = "text/html; charset=utf-8" if is_page else "application/json"
    start_response("200 OK", [("Content-Type", kind), ("Content-Length", "12")])
    return [b"Hello World!"]


def flask_hello() -> Application:
    """Return Flask's first example."""
    app = flask.Flask("hello")

    @app.get("/about")
    def about() -> str:
        return "Hello World!"

    return app.wsgi_app


# -- redirects ---------------------------------------------------------------------------------------


def redirecting(quick: bool) -> list[Row]:
    """Return F2 and F3: a click followed by us, and by views that people write themselves."""
    calls, rounds = 2_000, 5 if quick else 15
    few = calls // 20
    requests = asked(link_paths(calls))
    # The limit knows a link again: new ones for each round.
    others = iter([asked(link_paths(calls)) for _ in range(rounds + 1)])
    views = asked([f"/go?url=https://www.example.org/{n}.html&pos=3" for n in range(calls)])
    with TemporaryDirectory() as name, drain_elsewhere(Path(name)):
        folder = Path(name)
        ours = clicks_around(hello, folder)
        limited = clicks_around(hello, folder, redirect_rate=20)
        plain = flask_redirect()
        writing = flask_insert(folder / "home-made.db")
        taken = interleaved(
            {
                "ours": lambda: follow(ours, requests),
                "limited": lambda: follow(limited, next(others)),
                "flask": lambda: follow(plain, views),
                "insert": lambda: follow(writing, views[:few]),
            },
            rounds=rounds,
            per={"ours": calls, "limited": calls, "flask": calls, "insert": few},
        )
        assert not limited.door.journal.pending_tallies(), "some were above the limit"
        for clicks in (ours, limited):
            clicks.door.worker.close()
    return _redirect_rows(taken)


def _redirect_rows(taken: dict[str, list[float]]) -> list[Row]:
    reference = at_reference(taken, "ours")
    ours, flask_us, insert = (spread(taken[name]) for name in ("ours", "flask", "insert"))
    to_flask = ratios(taken["ours"], taken["flask"])
    to_insert = ratios(taken["ours"], taken["insert"])
    limited = ratios(taken["limited"], taken["flask"])
    what = "redirect in process: verify, event, journal"
    return [
        Row(
            "F2", what, "", f"{ours} µs; at reference speed {reference}", "≤ 15 µs",
            at_most(reference, 15),
        ),
        Row(
            "F2", what, f"Flask view, redirects only: {flask_us} µs", f"{to_flask} ×", "≤ 0.25 ×",
            at_most(to_flask, 0.25),
        ),
        Row(
            "F2", f"{what}, with the default rate limit", "Flask view, redirects only",
            f"{limited} ×", "–", "–",
        ),
        Row(
            "F3", what, f"Flask, sqlite3 connect, INSERT, commit: {insert} µs", f"{to_insert} ×",
            "≤ 0.04 ×", at_most(to_insert, 1 / 25),
        ),
    ]  # fmt: skip


# -- pages of results --------------------------------------------------------------------------------


def rewriting_signed(quick: bool) -> Row:
    """Return R: a page of 100 KB with 100 links, each of them signed, its search in the journal."""
    body, calls = PAGES["100 KB, 100 links"], 20

    def results(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        headers = [("Content-Type", "text/html; charset=utf-8"), ("Cache-Control", "private")]
        start_response("200 OK", [*headers, ("Content-Length", str(len(body)))])
        return [body]

    with TemporaryDirectory() as name, drain_elsewhere(Path(name)):
        ours = clicks_around(results, Path(name))
        request = environ("/search", QUERY_STRING="q=tax+form")
        taken = interleaved(
            {"ours": lambda: serve(ours, request, calls)},
            rounds=5 if quick else 9,
            per={"ours": calls},
        )
        ours.door.worker.close()
    reference = at_reference(taken, "ours")
    measured = f"{spread(taken['ours'])} µs; at reference speed {reference}"
    what = "page of 100 KB, 100 links signed, its search in the journal"
    return Row("R", what, "", measured, "≤ 1,500 µs", at_most(reference, 1500))


def clicks_around(app: Application, folder: Path, **settings: Any) -> ClickMW:
    """Return *app* with clickmw around it; store and journal in *folder*."""
    settings = {"redirect_rate": None, **settings}
    return ClickMW(app, secret=SECRET, store=f"sqlite:///{folder}/clicks.db", **settings)


@contextmanager
def drain_elsewhere(folder: Path) -> Iterator[None]:
    """Hold the drain's lock, as ``clickmw drain`` in a process of its own does."""
    lock = DrainLock(folder / "clicks.db.journal")
    assert lock.take()
    try:
        yield
    finally:
        lock.release()


def flask_redirect() -> Application:
    """Return a Flask view that redirects and remembers nothing."""
    app = flask.Flask("redirect")

    @app.get("/go")
    def go() -> Any:
        return flask.redirect(flask.request.args["url"])

    return app.wsgi_app


def flask_insert(path: Path) -> Application:
    """Return the click counter that is written in an afternoon: a row, a commit, a redirect."""
    app = flask.Flask("insert")
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE click (at TEXT, url TEXT, position INT, agent TEXT)")
    connection.close()

    @app.get("/go")
    def go() -> Any:
        url, position = flask.request.args["url"], flask.request.args["pos"]
        connection = sqlite3.connect(path, timeout=10)
        connection.execute(
            "INSERT INTO click VALUES (datetime('now'), ?, ?, ?)",
            (url, position, flask.request.headers.get("User-Agent")),
        )
        connection.commit()
        connection.close()
        return flask.redirect(url)

    return app.wsgi_app


def serve(app: Application, request: Environ, times: int) -> None:
    """Serve one request *times* times, as a server does."""
    for _ in range(times):
        body = app(request.copy(), started)
        for _chunk in body:
            pass
        close = getattr(body, "close", None)
        if close is not None:
            close()


def asked(targets: list[str]) -> list[Environ]:
    """Return the requests for *targets*, paths with their query strings, of many visitors."""
    requests = []
    for number, target in enumerate(targets):
        path, _, query = target.partition("?")
        address = f"198.51.{number % 2_000 // 250}.{number % 250}"
        requests.append(environ(path, QUERY_STRING=query, REMOTE_ADDR=address))
    return requests


def follow(app: Application, requests: list[Environ]) -> None:
    """Send each of *requests*, as a server does, and see that it is redirected."""
    lines = []

    def start_response(status: str, headers: Any, exc_info: Any = None) -> None:
        lines.append(status)

    for request in requests:
        body = app(request.copy(), start_response)
        for _chunk in body:
            pass
        close = getattr(body, "close", None)
        if close is not None:
            close()
    assert all(status.startswith("302") for status in lines), set(lines)


def started(status: str, headers: Any, exc_info: Any = None) -> None:
    """Take the start of an answer."""
