"""The demo: a real search site, clickmw around it, and visitors who search and click."""

from __future__ import annotations

import errno
import json
import secrets
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from clickmw.ending import until_interrupted
from clickmw.middleware import ClickMW, Door
from clickmw.simulate import Report, simulate
from clickmw.stores.base import Filter
from clickmw.terminal import print_report, report_facts

Application = Callable[..., Iterable[bytes]]

#: Bytes of a body that the server of ``clickmw serve`` takes in; more than any of ours may have.
MOST_BODY = 1_048_576
GONE = "The demo and its data are gone."


def run_demo(port: int, visits: int, *, seed: int, once: bool, as_json: bool) -> int:
    """Serve the demo on 127.0.0.1 and send *visits* visitors; return the exit code."""
    with tempfile.TemporaryDirectory(prefix="clickmw-demo-") as folder:
        site, index = _site(Path(folder))
        application = ClickMW(
            site,
            secret=secrets.token_urlsafe(32),
            store=f"sqlite:///{Path(folder) / 'clicks.db'}",
            admin_password=secrets.token_urlsafe(16),
            trusted_proxies=1,
        )
        try:
            with until_interrupted(GONE), running(application, port, other=True) as address:
                return _show(application.door, address, visits, seed, once, as_json)
            return 1 if once else 0
        finally:
            application.door.worker.close()
            index.close()


def _site(folder: Path) -> tuple[Application, Any]:
    index_module: Any = import_module("clickmw.pydocs_search.index")
    site_module: Any = import_module("clickmw.pydocs_search.site")
    click.echo("Reading the documentation of this Python …", err=True)
    try:
        index = index_module.prepare(folder)
    except RuntimeError as error:  # SQLite without full-text search
        raise click.ClickException(str(error)) from error
    return site_module.make_site(index), index


def _show(door: Door, address: str, visits: int, seed: int, once: bool, as_json: bool) -> int:
    link = (
        f"{address}{door.settings.prefix}/report/?login={door.routes.access.one_time_link_token()}"
    )
    click.echo(f"clickmw demo: search site   {address}/", err=as_json)
    click.echo(f"              report        {link}", err=as_json)
    click.echo("              (the report's link works once, for five minutes)", err=as_json)
    outcome = run_visits(address, visits, seed)
    if not once:
        click.echo(f"{outcome.clicks:,} clicks of {visits:,} visitors. Now yours. Ctrl+C ends.")
        threading.Event().wait()
    return _print_outcome(door, outcome, as_json)


def _print_outcome(door: Door, outcome: Report, as_json: bool) -> int:
    reader = door.routes.open_reader()
    try:
        today = door.routes.today(None)
        asked = Filter(first_day=today - timedelta(days=1), last_day=today)
        facts = report_facts(reader, asked, 10)
    finally:
        reader.close()
    problems = door.store.check()
    if as_json:
        click.echo(
            json.dumps({**facts, "visits": outcome.summary(), "problems": problems}, default=str)
        )
    else:
        print_report(facts)
        click.echo("\n" + ("\n".join(problems) or "check: every number is the sum of its rows"))
    return 1 if problems or outcome.errors else 0


def run_visits(address: str, visits: int, seed: int) -> Report:
    """Send the visitors, with a progress bar on a terminal."""
    with click.progressbar(length=visits, label="Visitors", file=sys.stderr) as bar:
        return simulate(address, visits, seed=seed, progress=bar.update)


@contextmanager
def running(
    application: Application, port: int, host: str = "127.0.0.1", *, other: bool = False
) -> Iterator[str]:
    """Serve *application* in the background; yield its address.

    A taken port is an OSError, unless any *other* one is as good.
    """
    with closing(_listen_anywhere(host, port) if other else listen(host, port)) as listening:
        server = _server(application, listening)
        server.daemon_threads = False  # what the last answer writes is written before we go on
        # Browsers open connections before they need them; who ends us does not wait long for those.
        server.RequestHandlerClass.timeout = 2.0
        thread = threading.Thread(target=server.serve_forever, name="clickmw-server", daemon=True)
        thread.start()
        try:
            yield address_of(listening)
        finally:
            server.shutdown()
            thread.join(5)
            server.server_close()


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens at *host*, whose addresses of version 6 have colons; "*" is everywhere."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server(("" if host == "*" else host, port), family=family, backlog=128)


def _listen_anywhere(host: str, port: int) -> socket.socket:
    try:
        return listen(host, port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        click.echo(f"Port {port} is taken; another one is used.", err=True)
        return listen(host, 0)


def address_of(listening: socket.socket) -> str:
    """Return where a browser finds what listens there."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _server(application: Application, listening: socket.socket) -> Any:
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log_request(self, *_args: object) -> None: ...

        def log_error(self, *_args: object) -> None:
            """Say nothing of what a client did; failures of the application go another way."""

    host, port = listening.getsockname()[:2]
    more: dict[str, Any] = {"threaded": True, "request_handler": Quiet}
    return make_server(host, port, application, fd=listening.fileno(), **more)


def serve_forever(application: Application, listening: socket.socket) -> None:
    """Serve *application* until interrupted: with waitress where it is installed."""
    try:
        waitress: Any = import_module("waitress")
    except ImportError:
        click.echo("clickmw: waitress is not installed; this is a development server.", err=True)
        _server(application, listening).serve_forever()
        return
    waitress.create_server(
        application,
        sockets=[listening],
        threads=8,
        ident=None,
        # Left alone for ``trusted_proxies``: the setting says which of them is believed.
        clear_untrusted_proxy_headers=False,
        # It takes in a whole body before anybody can refuse it.
        max_request_body_size=MOST_BODY,
    ).run()
