"""Commands that write events to files and read them again: export, import."""

from __future__ import annotations

import csv
import gzip
import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from clickmw.console import (
    PROBLEM,
    Install,
    as_json,
    journal_alone,
    known_site,
    progress,
    say,
    show,
)
from clickmw.middleware import store_of
from clickmw.stores.base import Extract
from clickmw.tables import safe_text

if TYPE_CHECKING:
    from clickmw.importing import Outcome

TABLES = ("clicks", "searches", "impressions", "feedback", "answers", "conversions", "daily_clicks")
#: What all of a store's events are in.
WHOLE = ("searches", "clicks", "impressions", "feedback", "answers", "conversions", "returns")
DAY = click.DateTime(["%Y-%m-%d"])
_EVERY = 1000  #: rows between two looks at the progress bar
LINE_LIMIT = 16 * 1024 * 1024  #: bytes of a line that is read: far more than any event has


@click.command()
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "jsonl"]),
    default="csv",
    show_default=True,
    help="A table, or lines of JSON.",
)
@click.option(
    "--table", type=click.Choice(TABLES), help="One of the views; with jsonl all without it."
)
@click.option("--from", "first_day", type=DAY, help="First day, as 2026-01-31.")
@click.option("--to", "last_day", type=DAY, help="Last day.")
@click.option("--site", help="One site's handle; all sites without it.")
@click.option(
    "--output", type=click.Path(path_type=Path), help="A new file; standard output without it."
)
@click.option(
    "--exact", is_flag=True, help="CSV: texts that a spreadsheet would run stay as they are."
)
@click.pass_obj
def export(
    install: Install,
    form: str,
    table: str | None,
    first_day: datetime | None,
    last_day: datetime | None,
    site: str | None,
    output: Path | None,
    exact: bool,
) -> None:
    """Write events to a file. CSV is for spreadsheets, JSON lines can be imported again.

    Example: clickmw --store sqlite:///clicks.db export --table clicks --from 2026-01-01
    """
    if form == "csv" and table is None:
        raise click.UsageError("CSV has one table a file: name it with --table")
    if first_day and last_day and first_day > last_day:
        raise click.UsageError("--from is later than --to")
    door = install.caught_up()
    with closing(door.store.reader()) as reader:
        known_site(door.settings, reader, site)
    first = first_day.date() if first_day else date.min
    last = last_day.date() if last_day else date.max
    asked = [
        Extract(table=each, first_day=first, last_day=last, site=site, whole=form == "jsonl")
        for each in ([table] if table else WHOLE)
    ]
    with _sink(output) as file, progress("exporting") as tell:
        write = partial(_write_csv, exact=exact) if form == "csv" else _write_lines
        count = sum(write(file, each.table, door.store.export(each), tell) for each in asked)
    if output:
        say(f"{count:,} rows written to {output}")


@contextmanager
def _sink(output: Path | None) -> Iterator[IO[str]]:
    if output is None:
        yield sys.stdout
        return
    try:
        # Queries can be personal: nobody else on the machine reads them.
        number = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise click.UsageError(f"{output} exists already and is not overwritten") from None
    with os.fdopen(number, "w", encoding="utf-8", newline="") as file:
        yield file


def _write_csv(
    file: IO[str], table: str, rows: Iterator[Sequence[Any]], tell: Any, *, exact: bool
) -> int:
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(next(rows))
    count = 0
    for count, row in enumerate(rows, 1):
        writer.writerow(row if exact else [_safe(value) for value in row])
        _told(tell, count)
    return count


def _safe(value: Any) -> Any:
    return safe_text(value) if isinstance(value, str) else value


def _write_lines(file: IO[str], table: str, rows: Iterator[Sequence[Any]], tell: Any) -> int:
    columns = next(rows)
    count = 0
    for count, row in enumerate(rows, 1):
        line = json.dumps({"table": table, **dict(zip(columns, row, strict=True))})
        file.write(line + "\n")
        _told(tell, count)
    return count


def _told(tell: Any, count: int) -> None:
    if count % _EVERY == 0:
        tell(count, count)  # how many there are is not known before


@click.command("import")
@click.argument(
    "files",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path, allow_dash=True),
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "combined"]),
    default="jsonl",
    show_default=True,
    help="An export, or access logs.",
)
@as_json
@click.pass_obj
def import_(install: Install, files: tuple[Path, ...], form: str, as_json: bool) -> None:
    """Take in an export, or clicks out of a web server's logs. What is there already is not added.

    Exits with 1 when something in an export was no event.

    Example: clickmw --config clickmw.toml import --format combined access.log access.log.1.gz
    """
    from clickmw.access_logs import import_log
    from clickmw.importing import NO_EVENT, NOT_STORED, import_lines

    settings = install.settings(needs_secret=form == "combined")
    counts: Counter[str] = Counter()
    with journal_alone(settings), closing(store_of(settings)) as store:
        store.migrate()
        for path in files:
            with progress(str(path)) as tell, _source(path) as file:
                done = partial(_told_lines, tell)
                if form == "combined":
                    outcome = import_log(lines_of(file), settings, store, done)
                else:
                    outcome = import_lines(partial(_texts, file), store, done)
            _name_wrong(path, outcome)
            counts += outcome
    lines = [f"{count:>12,}  {what}" for what, count in counts.most_common()]
    show(dict(counts), "\n".join(lines) or "nothing was found", as_json)
    if counts[NO_EVENT] + counts[NOT_STORED]:
        sys.exit(PROBLEM)


def _name_wrong(path: Path, outcome: Outcome) -> None:
    """Say which lines of a file were wrong: the first of each kind, by their numbers."""
    for what, lines in outcome.wrong.items():
        numbers = ", ".join(map(str, lines))
        more = outcome[what] - len(lines)
        end = f" and {more:,} more" if more else ""
        say(f"{path}: {what}: line{'s' if len(lines) > 1 else ''} {numbers}{end}")


def _told_lines(tell: Any, count: int) -> None:
    tell(count, count)


@contextmanager
def _source(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, "-" for standard input, that can be read twice; gzip is told by its first bytes."""
    with tempfile.TemporaryFile() if str(path) == "-" else path.open("rb") as file:
        if str(path) == "-":
            shutil.copyfileobj(sys.stdin.buffer, file)
            file.seek(0)
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if packed:
            with gzip.open(file) as unpacked:
                yield unpacked  # type: ignore[misc]
        else:
            yield file


def _texts(file: IO[bytes]) -> Iterator[str]:
    file.seek(0)
    return (line.decode("utf-8", "replace") for line in lines_of(file))


def lines_of(file: IO[bytes], limit: int = LINE_LIMIT) -> Iterator[bytes]:
    """Yield the lines of *file*; of one that is longer than *limit* a mark that is nothing's line."""
    while line := file.readline(limit):
        if len(line) < limit or line.endswith(b"\n"):
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(limit)
        yield b"too long\n"


FILES = (export, import_)
