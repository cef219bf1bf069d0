"""Commands around keys and secrets: keys create, list, revoke, rotate."""

from __future__ import annotations

import json
import secrets
import time
from typing import Any

import click

from clickmw.console import Install, as_json, say, show
from clickmw.keyring import READ_AGAIN_S, make_key
from clickmw.middleware import store_of
from clickmw.settings import SECRETS_LIMIT, Settings

#: Scope → how the key is shown.
_USES = {
    "read": "curl -H 'X-Api-Key: {key}' https://…{prefix}/api/v1/clicks",
    "admin": "curl -H 'X-Api-Key: {key}' https://…{prefix}/report/overview.json",
    "ingest": "send it in X-Api-Key or Authorization: Bearer; it reads nothing, so it may be public",
}


@click.group()
def keys() -> None:
    """Make, list and revoke API keys, and change the secret.

    Example: clickmw --config clickmw.toml keys create --scope read --site shop
    """


@keys.command()
@click.option(
    "--scope",
    type=click.Choice(["read", "ingest", "admin"]),
    default="read",
    show_default=True,
    help="What it opens: the numbers, nothing (it only writes), or the report too.",
)
@click.option("--site", help="Handle of the one site it opens; all sites without it.")
@click.option("--name", default="", help="Who has it, for the list.")
@as_json
@click.pass_obj
def create(install: Install, scope: str, site: str | None, name: str, as_json: bool) -> None:
    """Make a key and print it, once. The store keeps only a hash.

    Example: clickmw --config clickmw.toml keys create --scope read --name dashboard
    """
    settings = install.settings(needs_secret=True)
    if site is not None and settings.sites.by_handle(site) is None:
        handles = ", ".join(each.handle for each in settings.sites.all)
        raise click.UsageError(f"no site is called {site!r}; there is {handles}")
    text, key = make_key(settings, scope, site, name)
    store = store_of(settings)
    try:
        store.add_key(key)
    finally:
        store.close()
    show({"id": key.id, "key": text, "scope": scope, "site": site}, text, as_json)
    say(f"key {key.id}, shown this once. Use it so: " + _use(settings, scope))


def _use(settings: Settings, scope: str) -> str:
    return _USES[scope].format(key="…", prefix=settings.prefix)


@keys.command("list")
@as_json
@click.pass_obj
def list_(install: Install, as_json: bool) -> None:
    """List the keys of the store. Their texts are known to nobody.

    Example: clickmw --store sqlite:///clicks.db keys list
    """
    settings = install.settings()
    store = install.door().store
    rows = [
        {name: each for name, each in key._asdict().items() if name != "digest"}
        for key in store.list_keys()
    ]
    configured = len(settings.keys) + sum(len(site.api_keys) for site in settings.sites.all)
    lines = [_line(row) for row in rows] or ["no key was made here"]
    if configured:
        lines.append(f"and {configured} in the settings")
    show({"keys": rows, "in_settings": configured}, "\n".join(lines), as_json)


def _line(row: dict[str, Any]) -> str:
    day = time.strftime("%Y-%m-%d", time.gmtime(row["created_ms"] / 1000))
    return f"{row['id']}  {row['scope']:<6}  {row['site'] or 'all sites'}  {day}  {row['name']}".rstrip()


@keys.command()
@click.argument("key_id", metavar="ID")
@as_json
@click.pass_obj
def revoke(install: Install, key_id: str, as_json: bool) -> None:
    """Take a key out of force, by the id that the list has.

    Example: clickmw --store sqlite:///clicks.db keys revoke 1f2e3d4c
    """
    store = install.door().store
    revoked = store.remove_key(key_id)
    store.close()
    text = f"revoked: it stops in every process within {READ_AGAIN_S:g} seconds"
    show(
        {"id": key_id, "revoked": revoked},
        text if revoked else f"there is no key {key_id}",
        as_json,
    )
    click.get_current_context().exit(0 if revoked else 1)


@keys.command()
@as_json
@click.pass_obj
def rotate(install: Install, as_json: bool) -> None:
    """Print a new secret and what keeps the old one good. Links and keys go on working.

    Example: clickmw --config clickmw.toml keys rotate
    """
    settings = install.settings(needs_secret=True)
    new = secrets.token_urlsafe(32)
    old = [settings.secret, *settings.old_secrets][: SECRETS_LIMIT - 1]
    show({"secret": new, "old_secrets": old}, _written(settings, new, old), as_json)
    say(
        f"put this in the place of the secret ({settings.sources['secret']}) and restart every process. "
        "Links count for 30 days: take the old secret out after that. Keys that were made under it end "
        "with it; make new ones before"
    )


def _written(settings: Settings, new: str, old: list[str]) -> str:
    source = settings.sources["secret"]
    if source.startswith("environment"):
        return f"CLICKMW_SECRET={new}\nCLICKMW_OLD_SECRETS='{json.dumps(old)}'"
    if "SECRET_KEY" in source:
        return f"SECRET_KEY = {json.dumps(new)}\nSECRET_KEY_FALLBACKS = {json.dumps(old)}"
    return f"secret = {json.dumps(new)}\nold_secrets = {json.dumps(old)}"


KEYS = (keys,)
