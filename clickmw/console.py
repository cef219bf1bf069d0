"""What the commands share: the install they work on, exit codes, and how they speak.

Exit codes: 0 ok, 1 a problem was found, 2 usage or configuration, 3 the store cannot be reached.
"""

from __future__ import annotations

import gc
import inspect
import json
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from clickmw.drain import OUTSIDE_BATCH, Drain
from clickmw.errors import ClickMWError, SettingsError, StoreError
from clickmw.middleware import Door, store_of
from clickmw.routes import drain_of
from clickmw.settings import Settings
from clickmw.sharing import MADE_UP
from clickmw.stores.base import Reader, Tell

USAGE, UNREACHABLE, PROBLEM = 2, 3, 1
CATCH_UP_S = 5.0  #: how long a command may wait for what lies in the journal
TAKE_OVER_S = 15.0  #: how long a command waits for the site's workers to let go of the journal
BAR_AFTER_S = 1.0  #: what is done sooner needs no progress bar

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


class Install:
    """What a command works on: the settings of ``--config``, ``--store`` and the environment.

    ``sources`` are those of the framework that runs the command, as ``Settings.load`` takes them.
    """

    def __init__(
        self, config: Path | None, store: str | None, sources: Mapping[str, Any] | None = None
    ) -> None:
        values = {"config": config, "store": store}
        given = {name: value for name, value in values.items() if value is not None}
        self.sources = dict(sources or {})
        self.given = {**self.sources.pop("keywords", {}), **given}

    def settings(self, *, needs_secret: bool = False) -> Settings:
        """Return the settings; commands that sign nothing do not need a secret."""
        if self.sources:
            return Settings.load(self.given, **self.sources)
        if needs_secret:
            return Settings.load(self.given)
        settings = Settings.load(self.given, derived={"secret": secrets.token_urlsafe(32)})
        if "derived" not in settings.sources["secret"]:
            return settings
        return replace(settings, sources={**settings.sources, "secret": MADE_UP})

    def checked_store(self, url: str) -> str:
        """Return *url* when it can be the ``store`` setting; else it is refused as that one is."""
        return Settings.load({"store": url, "secret": "-" * 32}, environ={}).store

    def door(self, *keys: Any) -> Door:
        """Return the install as a site has it, with *keys* in addition; its store must be there."""
        settings = self.settings()
        settings = replace(settings, keys=(*settings.keys, *keys))
        if settings.database and not settings.database.exists() and not settings.journal.exists():
            raise StoreError(
                f"there is no database at {settings.database} and no journal beside it. "
                "Name the right one with --store sqlite:///path/to/clicks.db"
            )
        return Door(nothing_here, settings)

    def caught_up(self) -> Door:
        """Return the install with all in the store that the journal held, if that can be had."""
        door = self.door()
        with suppress(StoreError):  # what is in the store can be read all the same
            door.worker.catch_up(CATCH_UP_S)
        return door


class Commands(click.Group):
    """A group whose errors are one sentence and the exit code that scripts rely on."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # who read our output has seen enough; click ends without a word
            raise
        except SettingsError as error:
            say(str(error))
            ctx.exit(USAGE)
        except StoreError as error:
            say(str(error))
            ctx.exit(UNREACHABLE)
        except (ClickMWError, OSError) as error:
            say(str(error))
            ctx.exit(PROBLEM)


def keep_examples(command: click.Command) -> None:
    """Let the help of *command* and of all below it show its example on a line of its own, to be copied."""
    text = inspect.cleandoc(command.help or "")
    command.help = text.replace("\n\nExample: ", "\n\n\b\nExample:\n  ")
    for each in command.commands.values() if isinstance(command, click.Group) else ():
        keep_examples(each)


def say(text: str) -> None:
    """Tell a person something that is no part of the output."""
    click.echo(text if text.startswith("clickmw") else f"clickmw: {text}", err=True)


def show(facts: Mapping[str, Any], text: str, as_json: bool) -> None:
    """Print the outcome of a command: *facts* as JSON, or *text*."""
    click.echo(json.dumps(facts, indent=2, default=str) if as_json else text)


def nothing_here(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Answer as a site without pages."""
    start_response("404 Not Found", [("Content-Type", "text/plain"), ("Content-Length", "0")])
    return [b""]


@contextmanager
def progress(label: str) -> Iterator[Tell]:
    """Lend a function that is told of long work; a terminal shows a bar when it lasts over a second."""
    begun = time.monotonic()
    bar: Any = None

    def tell(done: int, total: int) -> None:
        nonlocal bar
        if not sys.stderr.isatty() or time.monotonic() - begun < BAR_AFTER_S or not total:
            return
        if bar is None:
            bar = click.progressbar(length=total, label=label, file=sys.stderr)
            bar.__enter__()
        bar.length = total
        bar.update(done - bar.pos)

    try:
        yield tell
    finally:
        if bar is not None:
            bar.__exit__(None, None, None)


def known_site(settings: Settings, reader: Reader, handle: str | None) -> None:
    """Refuse a *handle* that neither the store nor the settings know: its numbers would be zeros."""
    known = sorted({*reader.sites(), *(site.handle for site in settings.sites.all)})
    if handle is not None and handle not in known:
        raise click.UsageError(f"no site is called {handle!r}; there is {', '.join(known)}")


# --- draining from a process of its own ----------------------------------------------------------


def first_drain(settings: Settings) -> Drain:
    """Return a drain that goes before the site's workers; the caller closes it."""
    collect_seldom()
    return drain_of(
        settings, lambda: store_of(settings), batch=OUTSIDE_BATCH, breath_s=0.0, first=True
    )


def collect_seldom() -> None:
    """Look for cycles of objects after 50,000 new ones, not after 700.

    A batch makes hundreds of thousands, and no cycle: to look for some takes a sixth of the time
    of a drain. Only for a process that is ours alone.
    """
    gc.set_threshold(50_000, 20, 50)


def take_over(drain: Drain, within_s: float = 3.0) -> int | None:
    """Drain as soon as the site's workers have let go, who look every second or two.

    Return how many events were moved, None when another process keeps the journal.
    """
    end = time.monotonic() + within_s
    while (moved := drain_once(drain)) is None and time.monotonic() < end:
        time.sleep(0.1)
    return moved


@contextmanager
def journal_alone(settings: Settings) -> Iterator[None]:
    """Hold the journal, all of it taken in, so that nobody else drains or prunes meanwhile."""
    drain = first_drain(settings)
    try:
        if take_over(drain, TAKE_OVER_S) is None:
            raise StoreError("another process keeps the journal; end its drain and try again")
        yield
    finally:
        drain.close()


def drain_once(drain: Drain) -> int | None:
    """Drain; trouble with the store is waited out, for eight seconds at most."""
    said = ""
    for attempt in range(6):
        try:
            return drain.run_once()
        except StoreError as error:
            if attempt == 5:
                raise
            if said != (said := str(error)):
                say(f"{said} (trying again for some seconds)")
            time.sleep(2**attempt / 4)
    return None
