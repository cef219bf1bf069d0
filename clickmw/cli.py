"""The command line: ``clickmw demo``, ``serve``, ``drain``, ``report``, ``mcp``, ``check``, ``snippet``, ``simulate``, ``doctor``.

Exit codes: 0 ok, 1 a problem was found, 2 usage or configuration, 3 the store cannot be reached.
"""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from clickmw import __version__
from clickmw.errors import ClickMWError, SettingsError, StoreError
from clickmw.settings import Settings

USAGE, UNREACHABLE, PROBLEM = 2, 3, 1
CATCH_UP_S = 5.0  #: how long an agent's first answer may wait for what lies in the journal


class Install:
    """What a command works on: the settings of ``--config``, ``--store`` and the environment."""

    def __init__(self, config: Path | None, store: str | None) -> None:
        values = {"config": config, "store": store}
        self.given = {name: value for name, value in values.items() if value is not None}

    def settings(self, *, needs_secret: bool = False) -> Settings:
        """Return the settings; commands that sign nothing do not need a secret."""
        made_up = {} if needs_secret else {"secret": secrets.token_urlsafe(32)}
        return Settings.load(self.given, derived=made_up)


class Commands(click.Group):
    """A group whose errors are one sentence and the exit code that scripts rely on."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # who read our output has seen enough; click ends without a word
            raise
        except SettingsError as error:
            _say(str(error))
            ctx.exit(USAGE)
        except StoreError as error:
            _say(str(error))
            ctx.exit(UNREACHABLE)
        except (ClickMWError, OSError) as error:
            _say(str(error))
            ctx.exit(PROBLEM)


def _say(text: str) -> None:
    click.echo(text if text.startswith("clickmw") else f"clickmw: {text}", err=True)


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", type=click.Path(path_type=Path), help="TOML file with the settings.")
@click.option("--store", help="Where events are kept, e.g. sqlite:///clicks.db")
@click.version_option(__version__, prog_name="clickmw")
@click.pass_context
def main(ctx: click.Context, config: Path | None, store: str | None) -> None:
    """Click analytics for search results.

    Example: clickmw --store sqlite:///clicks.db report --days 7
    """
    ctx.obj = Install(config, store)


@main.command()
@click.option(
    "--port", default=8765, show_default=True, help="Port on 127.0.0.1; 0 takes a free one."
)
@click.option("--visits", default=2000, show_default=True, help="Simulated visitors.")
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same visitors.")
@click.option("--once", is_flag=True, help="End after the visits, with the report.")
@as_json
def demo(port: int, visits: int, seed: int, once: bool, as_json: bool) -> None:
    """Try clickmw on a search site over Python's own documentation.

    Example: clickmw demo --once --visits 200
    """
    from clickmw.demo import run_demo

    sys.exit(run_demo(port, visits, seed=seed, once=once, as_json=as_json))


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8766, show_default=True)
@click.pass_obj
def serve(install: Install, host: str, port: int) -> None:
    """Run clickmw alone: redirects, report, health and click APIs for sites that are not Python.

    Example: clickmw --config clickmw.toml serve --port 8766
    """
    from clickmw.demo import serve_forever
    from clickmw.middleware import ClickMW

    settings = install.settings(needs_secret=True)
    application = ClickMW(_nothing_here, native_paths=True, **install.given)
    click.echo(f"clickmw {__version__}: http://{host}:{port}{settings.prefix}/report/")
    serve_forever(application, host, port)


def _nothing_here(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("404 Not Found", [("Content-Type", "text/plain"), ("Content-Length", "0")])
    return [b""]


@main.command()
@click.option("--once", is_flag=True, help="Move what there is, then end.")
@click.pass_obj
def drain(install: Install, once: bool) -> None:
    """Move events from the journal to the store, in a process of its own.

    Example: clickmw --store sqlite:///clicks.db drain --once
    """
    from clickmw.drain import OUTSIDE_BATCH, PAUSE_S
    from clickmw.middleware import store_of
    from clickmw.routes import drain_of

    settings = install.settings()
    drainer = drain_of(
        settings, lambda: store_of(settings), batch=OUTSIDE_BATCH, breath_s=0.0, first=True
    )
    try:
        moved = _take_over(drainer)
        if once:
            click.echo(_moved(moved))
            return
        click.echo(f"draining {settings.journal} to {settings.store}; Ctrl+C ends")
        with _until_interrupted():
            while True:
                time.sleep(PAUSE_S)
                _drain_once(drainer)
    finally:
        drainer.close()


def _moved(count: int | None) -> str:
    return "another process drains this journal" if count is None else f"{count:,} events moved"


def _take_over(drainer: Any) -> int | None:
    """Drain as soon as the site's workers have let go; they look every second at least."""
    for _ in range(30):
        moved = _drain_once(drainer)
        if moved is not None:
            return moved
        time.sleep(0.1)
    return None


def _drain_once(drainer: Any) -> int | None:
    """Drain; trouble with the store is waited out, for half a minute at most."""
    for attempt in range(6):
        try:
            moved: int | None = drainer.run_once()
            return moved
        except StoreError as error:
            if attempt == 5:
                raise
            _say(str(error))
            time.sleep(2**attempt / 4)
    return None


@contextmanager
def _until_interrupted() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        click.echo("stopped", err=True)


@main.command()
@click.option("--days", default=28, show_default=True, help="How many days, today included.")
@click.option("--site", help="One site's handle; all sites without it.")
@click.option("--top", default=10, show_default=True, help="Rows of each list.")
@as_json
@click.pass_obj
def report(install: Install, days: int, site: str | None, top: int, as_json: bool) -> None:
    """Print the report in the terminal: the same numbers as the page.

    Example: clickmw --store sqlite:///clicks.db report --days 7
    """
    from clickmw.stores.base import Filter
    from clickmw.terminal import print_report, report_facts

    door = _door(install)
    today = door.routes.today(site)
    reader = door.routes.open_reader()
    try:
        asked = Filter(
            first_day=today - timedelta(days=max(days, 1) - 1), last_day=today, site=site
        )
        facts = report_facts(reader, asked, top)
    finally:
        reader.close()
    click.echo(json.dumps(facts, indent=2, default=str)) if as_json else print_report(facts)


@main.command()
@as_json
@click.pass_obj
def check(install: Install, as_json: bool) -> None:
    """Check that the numbers are true: rollups = raw rows, rows = rules, ledger complete.

    Example: clickmw --store sqlite:///clicks.db check
    """
    from clickmw.health import difference

    door = _door(install)
    door.routes.open_reader().close()
    problems = door.store.check()
    missing = difference(door.routes.read_health())
    if missing:
        problems.append(f"ledger: {missing} events were received and are nowhere")
    if as_json:
        click.echo(json.dumps({"ok": not problems, "problems": problems}, indent=2))
    else:
        click.echo("\n".join(problems) or "ok: every number is the sum of its rows")
    sys.exit(PROBLEM if problems else 0)


@main.command()
@click.pass_obj
def mcp(install: Install) -> None:
    """Answer an AI agent on standard input and output (Model Context Protocol); it reads every site.

    Example: clickmw --store sqlite:///clicks.db mcp
    """
    from clickmw.sites import Key

    # Whoever may run this may read the file: a key that nobody else learns opens all of it.
    key = Key(key=secrets.token_urlsafe(32), scope="admin")
    door = _door(install, key)
    door.worker.has_threads = False  # the site's own processes drain; this one while it reads
    with suppress(StoreError):  # what is in the store can be read all the same
        door.worker.catch_up(CATCH_UP_S)
    door.worker.drain.let_others()
    server, _endpoint, _names = door.routes.protocols.find("mcp")
    if sys.stdin.isatty():
        _say("an agent's program runs this and speaks first; Ctrl+C ends")
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    try:
        with _until_interrupted(), redirect_stdout(sys.stderr):
            server.converse(key.key, source, sink, door.worker.drain.let_others)
    finally:
        door.worker.close()


def _door(install: Install, *keys: Any) -> Any:
    from clickmw.middleware import Door

    settings = install.settings()
    settings = replace(settings, keys=(*settings.keys, *keys))
    if settings.database and not settings.database.exists() and not settings.journal.exists():
        raise StoreError(
            f"there is no database at {settings.database} and no journal beside it. "
            "Name the right one with --store sqlite:///path/to/clicks.db"
        )
    return Door(_nothing_here, settings)


@main.command()
@click.option("--origin", default="", help="Where clickmw is, for pages of other sites: https://…")
@as_json
@click.pass_obj
def snippet(install: Install, origin: str, as_json: bool) -> None:
    """Print the tags of the browser's files, and what a Content-Security-Policy must allow.

    Example: clickmw snippet --origin https://clicks.example
    """
    from clickmw.assets import SCRIPTS, script_tag

    origin = origin.rstrip("/")
    folder = origin + install.settings().prefix
    tags = {name: script_tag(name, folder) for name in SCRIPTS}
    policy = dict.fromkeys(("script-src", "connect-src"), origin or "'self'")
    if as_json:
        click.echo(json.dumps({"tags": tags, "csp": policy}, indent=2))
        return
    for name, tag in tags.items():
        click.echo(f"{_NEEDED_FOR[name]}\n{tag}\n")
    words = "; ".join(f"{directive} {source}" for directive, source in policy.items())
    click.echo(f"Content-Security-Policy: {words}\nWith a nonce in script-src: add it to each tag.")


_NEEDED_FOR = {
    "clickmw.js": "Clicks and what was seen (the middleware inserts this one by itself):",
    "clickmw.extra.js": "Reports of your own scripts, returns, data-observe, data-debug:",
    "clickmw.feedback.js": "The question <clickmw-feedback>, with the two above:",
}


@main.command()
@click.argument("url")
@click.option("--visits", default=200, show_default=True)
@click.option("--seed", default=1, show_default=True)
@as_json
def simulate(url: str, visits: int, seed: int, as_json: bool) -> None:
    """Send visitors with a known click model to a search site on this machine.

    Example: clickmw simulate http://127.0.0.1:8765 --visits 500
    """
    from clickmw.demo import run_visits

    try:
        outcome = run_visits(url, visits, seed)
    except ValueError as error:
        _say(str(error))
        sys.exit(USAGE)
    click.echo(json.dumps(outcome.summary(), indent=2) if as_json else _lines(outcome.summary()))
    sys.exit(PROBLEM if outcome.errors else 0)


def _lines(facts: dict[str, Any]) -> str:
    return "\n".join(f"{name.replace('_', ' '):>20}  {value}" for name, value in facts.items())


@main.command()
@as_json
@click.pass_obj
def doctor(install: Install, as_json: bool) -> None:
    """Look at the install: each setting with its source, each check with its remedy.

    Example: clickmw --config clickmw.toml doctor
    """
    from clickmw.doctor import examine

    settings = install.settings()
    findings = examine(settings)
    if as_json:
        click.echo(json.dumps([finding._asdict() for finding in findings], indent=2))
    else:
        for finding in findings:
            click.echo(finding.line())
    sys.exit(PROBLEM if any(finding.verdict == "bad" for finding in findings) else 0)
