"""The command line: every command of ``clickmw``.

Exit codes: 0 ok, 1 a problem was found, 2 usage or configuration, 3 the store cannot be reached.
"""

from __future__ import annotations

import errno
import json
import re
import secrets
import sys
import time
from contextlib import closing, redirect_stdout, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from clickmw import __version__
from clickmw.commands_files import FILES
from clickmw.commands_keys import KEYS
from clickmw.commands_upkeep import UPKEEP
from clickmw.console import (
    CATCH_UP_S,
    PROBLEM,
    USAGE,
    Commands,
    Install,
    as_json,
    drain_once,
    first_drain,
    keep_examples,
    known_site,
    nothing_here,
    progress,
    say,
    show,
    take_over,
)
from clickmw.ending import until_interrupted
from clickmw.errors import BadFilter, StoreError

PORT = click.IntRange(0, 65535)
COUNT = click.IntRange(0)


@click.command(
    "clickmw",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    add_help_option=False,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def flask_command(ctx: click.Context, arguments: tuple[str, ...]) -> None:
    """Search clicks: doctor, report, check, drain … with the settings of this application."""
    # Flask finds this by its entry point; what it hands over knows the application.
    clicks = ctx.obj.load_app().extensions.get("clickmw")
    if clicks is None:
        raise click.ClickException("this application has no clickmw: write ClickMW(app)")
    main.main(list(arguments), prog_name="flask clickmw", obj=clicks.sources)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", type=click.Path(path_type=Path), help="TOML file with the settings.")
@click.option("--store", help="Where events are kept, e.g. sqlite:///clicks.db")
@click.version_option(__version__, prog_name="clickmw")
@click.pass_context
def main(ctx: click.Context, config: Path | None, store: str | None) -> None:
    """Click analytics for search results.

    Example: clickmw --store sqlite:///clicks.db report --days 7
    """
    ctx.obj = Install(config, store, ctx.obj)


for command in (*UPKEEP, *FILES, *KEYS):
    main.add_command(command)


@main.command()
@click.option(
    "--port",
    type=PORT,
    default=8765,
    show_default=True,
    help="Port on 127.0.0.1; 0 takes a free one.",
)
@click.option("--visits", type=COUNT, default=2000, show_default=True, help="Simulated visitors.")
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
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option(
    "--port", type=PORT, default=8766, show_default=True, help="Port; 0 takes a free one."
)
@click.pass_obj
def serve(install: Install, host: str, port: int) -> None:
    """Run clickmw alone, for sites that are not Python. It answers redirects, report, health and click APIs.

    Example: clickmw --config clickmw.toml serve --port 8766
    """
    from clickmw.demo import address_of, listen, serve_forever
    from clickmw.middleware import ClickMW

    settings = install.settings(needs_secret=True)
    application = ClickMW(nothing_here, native_paths=True, **install.given)
    try:
        listening = listen(host, port)
    except OSError as error:
        raise click.UsageError(_deaf(host, port, error)) from error
    with until_interrupted(), closing(listening):
        click.echo(f"clickmw {__version__}: {address_of(listening)}{settings.prefix}/report/")
        serve_forever(application, listening)


def _deaf(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is taken by another program; choose one with --port"
    return f"cannot listen at {host}:{port}: {error.strerror}; choose with --host and --port"


@main.command()
@click.option("--once", is_flag=True, help="Move what there is, then end.")
@as_json
@click.pass_obj
def drain(install: Install, once: bool, as_json: bool) -> None:
    """Move events from the journal to the store. Runs until it is ended.

    Example: clickmw --store sqlite:///clicks.db drain --once
    """
    from clickmw.drain import PAUSE_S

    settings = install.settings()
    drainer = first_drain(settings)
    try:
        moved = take_over(drainer)
        if once:
            show({"moved": moved}, _moved(moved), as_json)
            return
        say(f"draining {settings.journal} to {settings.store}; Ctrl+C ends")
        with until_interrupted():
            while True:
                time.sleep(PAUSE_S)
                drain_once(drainer)
    finally:
        drainer.close()


def _moved(count: int | None) -> str:
    return "another process drains this journal" if count is None else f"{count:,} events moved"


@main.command()
@click.option(
    "--days",
    type=click.IntRange(1),
    default=28,
    show_default=True,
    help="How many days, today included.",
)
@click.option("--site", help="One site's handle; all sites without it.")
@click.option("--module", help="Only the clicks and impressions of this module.")
@click.option("--device", help="Only desktop, mobile, tablet or other.")
@click.option("--language", help="Only this language of results pages.")
@click.option("--profile", help="Only this profile: one of several searches of a site.")
@click.option("--source", help="Only what came in this way, e.g. redirect.")
@click.option("--trust", help="Only signed, session, keyed or anonymous.")
@click.option("--query", "q", help="Only queries that contain this.")
@click.option("--robots", is_flag=True, help="Robots instead of people.")
@click.option("--top", type=COUNT, default=10, show_default=True, help="Rows of each list.")
@as_json
@click.pass_obj
def report(
    install: Install,
    /,
    days: int,
    site: str | None,
    robots: bool,
    top: int,
    as_json: bool,
    **facets: str | None,
) -> None:
    """Print the report in the terminal. It has the same numbers as the page.

    Example: clickmw --store sqlite:///clicks.db report --days 7 --device mobile
    """
    from clickmw.filters import read_question
    from clickmw.terminal import print_report, report_facts

    door = install.caught_up()
    today = door.routes.today(site)
    first_day = today - timedelta(days=days - 1)
    given = {**facets, "site": site, "robots": "1" if robots else "", "from": str(first_day)}
    try:
        question = read_question({k: [v] for k, v in given.items() if v}, today=today)
    except BadFilter as error:
        raise click.UsageError(_of_option(str(error))) from error
    reader = door.routes.open_reader()
    try:
        known_site(door.settings, reader, site)
        notes = replace(question, least_visitors=door.settings.min_visitors).notes()
        facts = report_facts(reader, question.asked, top, today=today, notes=notes)
    finally:
        reader.close()
    click.echo(json.dumps(facts, indent=2, default=str)) if as_json else print_report(facts)


#: Field of the report's address → the option that fills it.
_OPTIONS = {"from": "--days", "q": "--query"} | {
    name: f"--{name}"
    for name in ("site", "module", "device", "language", "profile", "source", "trust")
}


def _of_option(sentence: str) -> str:
    """Return a *sentence* about a field of the report's address as one about the option that filled it."""
    name, blank, rest = sentence.partition(" ")
    return _OPTIONS.get(name, name) + blank + rest


@main.command()
@as_json
@click.pass_obj
def check(install: Install, as_json: bool) -> None:
    """Check that the numbers are true. Sums must equal their rows, rows the rules, and the ledger add up.

    Example: clickmw --store sqlite:///clicks.db check
    """
    from clickmw.health import difference

    door = install.caught_up()
    door.routes.open_reader().close()
    with progress("checking") as tell:
        problems = door.store.check(tell)
    missing = difference(door.routes.read_health())
    if missing:
        problems.append(f"ledger: {missing} events were received and are nowhere")
    text = "\n".join(problems) or "ok: every number is the sum of its rows"
    show({"ok": not problems, "problems": problems}, text, as_json)
    sys.exit(PROBLEM if problems else 0)


@main.command()
@click.pass_obj
def mcp(install: Install) -> None:
    """Answer an AI agent (Model Context Protocol). It speaks on standard input and output and reads every site.

    Example: clickmw --store sqlite:///clicks.db mcp
    """
    from clickmw.sites import Key

    # Whoever may run this may read the file: a key that nobody else learns opens all of it.
    key = Key(key=secrets.token_urlsafe(32), scope="admin")
    door: Any = install.door(key)
    door.worker.has_threads = False  # the site's own processes drain; this one while it reads
    with suppress(StoreError):  # what is in the store can be read all the same
        door.worker.catch_up(CATCH_UP_S)
    door.worker.drain.let_others()
    server, _endpoint, _names = door.routes.protocols.find("mcp")
    if sys.stdin.isatty():
        say("an agent's program runs this and speaks first; Ctrl+C ends")
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    try:
        with until_interrupted(""), redirect_stdout(sys.stderr):
            server.converse(key.key, source, sink, door.worker.drain.let_others)
    finally:
        door.worker.close()


@main.command()
@click.option("--origin", default="", help="Where clickmw is, for pages of other sites: https://…")
@as_json
@click.pass_obj
def snippet(install: Install, origin: str, as_json: bool) -> None:
    """Print the tags of the browser's files. With what a Content-Security-Policy must allow.

    Example: clickmw snippet --origin https://clicks.example
    """
    from clickmw.assets import SCRIPTS, script_tag

    if origin and not re.match("https?://[^/]", origin):
        raise click.UsageError("--origin begins with https:// or http://")
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
@click.option("--visits", type=COUNT, default=200, show_default=True, help="How many come.")
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same visitors.")
@as_json
def simulate(url: str, visits: int, seed: int, as_json: bool) -> None:
    """Send made-up visitors to a search site on this machine. They click by a known model.

    Example: clickmw simulate http://127.0.0.1:8765 --visits 500
    """
    from clickmw.demo import run_visits

    try:
        outcome = run_visits(url, visits, seed)
    except ValueError as error:
        say(str(error))
        sys.exit(USAGE)
    click.echo(json.dumps(outcome.summary(), indent=2) if as_json else _lines(outcome.summary()))
    sys.exit(PROBLEM if outcome.errors else 0)


def _lines(facts: dict[str, Any]) -> str:
    return "\n".join(f"{name.replace('_', ' '):>20}  {value}" for name, value in facts.items())


@main.command()
@as_json
@click.pass_obj
def doctor(install: Install, as_json: bool) -> None:
    """Look at the install and say what to mend. Each setting has its source, each check its remedy.

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


keep_examples(main)
