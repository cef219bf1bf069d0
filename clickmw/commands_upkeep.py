"""Commands that keep a store in order: prune, backup, rebuild, erase."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import click

from clickmw.console import PROBLEM, Install, as_json, journal_alone, progress, show
from clickmw.errors import ClickMWError, StoreError
from clickmw.middleware import store_of

DAY_MS = 86_400_000
PRUNE_ROWS = 500  #: of each kind in one transaction, so that the site's own writes hardly wait
PRUNE_BREATH_S = 0.02


class Refused(ClickMWError):
    """A command that would do harm was not carried out. The message says how to insist."""


@click.command()
@click.option(
    "--days", type=click.IntRange(1), help="Keep this many days; the setting keep_days without it."
)
@click.option("--dry-run", is_flag=True, help="Count what would go, and change nothing.")
@click.option("--yes", is_flag=True, help="Do it although nothing would be left.")
@as_json
@click.pass_obj
def prune(install: Install, days: int | None, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Delete events that are older than keep_days. The report keeps its sums.

    Example: clickmw --store sqlite:///clicks.db prune --days 90 --dry-run
    """
    door = install.door()
    kept = days or door.settings.keep_days
    before_ms = time.time_ns() // 1_000_000 - kept * DAY_MS
    counts = door.store.count_before(before_ms)
    rows = sum(counts.values())
    if rows and not dry_run:
        _refuse_doubt(door, before_ms, yes)
        door.worker.drain.clock.trust()
        with progress("pruning") as tell:
            for done in _steps(door.store, before_ms):
                tell(done, rows)
    said = {"before": _moment(before_ms), "rows": rows, "by_kind": counts, "dry_run": dry_run}
    verb = "would go" if dry_run else "deleted"
    show(said, f"{rows:,} rows from before {_moment(before_ms)} {verb}", as_json)


def _refuse_doubt(door: Any, before_ms: int, yes: bool) -> None:
    """Refuse to delete everything, or by a clock that is not believed."""
    clock = door.worker.drain.clock
    if not yes and not clock.look():
        raise Refused(
            f"{clock.doubt()}. If this machine's clock is right and you mean it, add --yes"
        )
    reader = door.store.reader()
    try:
        last_ms = reader.ledger().get("last_event_ms", 0)
    finally:
        reader.close()
    if last_ms < before_ms and not yes:
        raise Refused(
            f"the latest event is of {_moment(last_ms)}, so every event would be deleted. "
            "If this machine's clock is right and you mean it, add --yes"
        )


def _steps(store: Any, before_ms: int) -> Any:
    """Prune in small transactions; yield how many rows are gone."""
    done = 0
    while deleted := store.prune(before_ms, limit=PRUNE_ROWS):
        done += deleted
        yield done
        time.sleep(PRUNE_BREATH_S)


def _moment(moment_ms: int) -> str:
    return datetime.fromtimestamp(moment_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@as_json
@click.pass_obj
def backup(install: Install, path: Path, as_json: bool) -> None:
    """Copy the database while the site runs. The copy has its name once it is checked.

    Example: clickmw --store sqlite:///clicks.db backup clicks-2026-01-31.db
    """
    if path.exists():
        raise click.UsageError(f"{path} exists already and is not overwritten: name another file")
    door = install.caught_up()
    with progress("copying") as tell:
        rows = door.store.back_up(path, tell)
    waiting = door.routes.read_health()["pending"]
    size = path.stat().st_size
    said = {"path": path, "bytes": size, "rows": rows, "pending": waiting}
    text = f"{path}: {sum(rows.values()):,} rows in {size / 1e6:,.1f} MB, checked"
    if waiting:
        text += f"; {waiting:,} events wait in the journal and are not in it"
    show(said, text, as_json)


@click.command()
@as_json
@click.pass_obj
def rebuild(install: Install, as_json: bool) -> None:
    """Decide and sum everything again from raw events.

    It brings a changed time zone or duplicate window into force.

    Example: clickmw --config clickmw.toml rebuild
    """
    door = install.caught_up()
    with progress("rebuilding") as tell:
        rebuilt = door.store.rebuild(tell)
    lines = [
        f"{handle}: days of {new}, no longer {old}" for handle, (old, new) in rebuilt.zones.items()
    ]
    since = f"from {rebuilt.first_day} on" if rebuilt.first_day else "all days"
    lines.append(f"summed again: {since}")
    if rebuilt.first_day:
        lines.append("the days before keep their sums: their raw events are pruned")
    said = {"first_day": rebuilt.first_day, "zones": rebuilt.zones}
    show(said, "\n".join(lines), as_json)


@click.command()
@click.option(
    "--query", help="A query, in any spelling: its searches and all that belongs to them."
)
@click.option("--url", help="The address of a result, as the report has it.")
@click.option("--visitor", help="A visitor of one day: the 16 hex digits of the views.")
@click.option("--day", type=click.DateTime(["%Y-%m-%d"]), help="With --visitor: only this day.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json
@click.pass_obj
def erase(
    install: Install,
    query: str | None,
    url: str | None,
    visitor: str | None,
    day: datetime | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Erase a query, a result or a visitor. Rows, sums, journal, log and freed pages are cleaned.

    Example: clickmw --store sqlite:///clicks.db erase --query "jane doe"
    """
    from clickmw.erasing import erase_everywhere
    from clickmw.stores.base import Erasure

    if sum(each is not None for each in (query, url, visitor)) != 1 or (day and not visitor):
        raise click.UsageError("give one of --query, --url and --visitor (--day with the last one)")
    if visitor is not None and not re.fullmatch("[0-9a-fA-F]{16}", visitor):
        raise click.UsageError("a visitor is 16 hex digits, as the views have it")
    wanted = Erasure(query=query, url=url, visitor=visitor, day=_date(day))
    if not yes:
        click.confirm(f"Erase {query or url or visitor} for good?", abort=True, err=True)
    settings = install.door().settings
    with journal_alone(settings), progress("erasing") as tell:
        counts = erase_everywhere(settings, wanted, tell)
    rows = sum(count for kind, count in counts.items() if kind != "elsewhere")
    show({"rows": rows, "by_kind": counts}, _receipt(counts), as_json)


def _receipt(counts: Mapping[str, int]) -> str:
    gone = [f"{count:,} {kind}" for kind, count in counts.items() if count and kind != "elsewhere"]
    text = f"erased: {', '.join(gone)}" if gone else "nothing was found"
    if elsewhere := counts.get("elsewhere"):
        text += f"\n{elsewhere:,} other texts contain the words and are still there"
    return text


def _date(moment: datetime | None) -> date | None:
    return moment.date() if moment else None


@click.command()
@click.option("--from", "source", required=True, help="The store that is copied, as sqlite:///….")
@click.option("--to", "target", required=True, help="An empty store, as postgresql://….")
@as_json
@click.pass_obj
def copy(install: Install, source: str, target: str, as_json: bool) -> None:
    """Copy a whole store into an empty one of PostgreSQL.

    The copy is checked. When it was interrupted, run it again to go on.

    Example: clickmw --config clickmw.toml copy --from sqlite:///clicks.db --to postgresql://host/db
    """
    install.given["store"] = source
    settings = install.settings()
    new = store_of(replace(settings, store=install.checked_store(target)))
    if settings.database and not settings.database.exists():
        raise StoreError(f"there is no database at {settings.database}")
    with journal_alone(settings):
        with progress("copying") as tell:
            rows = new.copy_from(store_of(settings), tell)
        with progress("checking"):
            broken = new.check()
    text = f"{sum(rows.values()):,} rows of {len(rows)} tables copied, counted and checked"
    lines = [text, *broken, f"the journal stays where it is: journal = {str(settings.journal)!r}"]
    show({"rows": rows, "broken": broken, "journal": settings.journal}, "\n".join(lines), as_json)
    if broken:
        click.get_current_context().exit(PROBLEM)


UPKEEP = (prune, backup, rebuild, erase, copy)
