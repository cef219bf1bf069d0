"""System checks: what ``manage.py check`` says of clickmw, each with an id and what to do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings as site
from django.core.checks import CheckMessage, Error, Warning

from clickmw.django.install import sources
from clickmw.errors import SettingsError
from clickmw.settings import Settings

MIDDLEWARE = "clickmw.django.ClickMWMiddleware"
_SAME = frozenset({MIDDLEWARE, "clickmw.django.middleware.ClickMWMiddleware"})
_SECURITY = "django.middleware.security.SecurityMiddleware"
#: Middleware whose work on a body must be done when we see it.
_INSIDE = (
    "django.middleware.gzip.GZipMiddleware",
    "django.middleware.http.ConditionalGetMiddleware",
    "django.middleware.cache.UpdateCacheMiddleware",
)


def check_install(app_configs: Any, **_more: Any) -> list[CheckMessage]:
    """Return what is wrong with the settings, the order of middleware, and the folders."""
    try:
        settings = Settings.load({}, **sources())
    except SettingsError as error:
        hint = "Mend CLICKMW in the settings; clickmw's page on settings lists every name."
        return [Error(str(error), hint=hint, id="clickmw.E001")]
    return [*_order(list(site.MIDDLEWARE)), *_folders(settings)]


def _order(middleware: list[str]) -> Iterator[CheckMessage]:
    places = [index for index, name in enumerate(middleware) if name in _SAME]
    if not places:
        hint = f"Write MIDDLEWARE.insert(1, {MIDDLEWARE!r}), or take clickmw.django out."
        yield Warning("clickmw is installed and not in MIDDLEWARE.", hint=hint, id="clickmw.W001")
        return
    if len(places) > 1:
        yield Error(
            "ClickMWMiddleware stands twice in MIDDLEWARE.", hint="Leave one.", id="clickmw.E002"
        )
    for name in _INSIDE:
        if name in middleware[: places[0]]:
            yield Warning(
                f"{name.rpartition('.')[2]} stands before ClickMWMiddleware and would keep or pack "
                "pages whose links are not signed yet.",
                hint=f"Move {MIDDLEWARE!r} up, right after SecurityMiddleware.",
                id="clickmw.W002",
            )
    if _SECURITY in middleware[places[0] :]:
        yield Warning(
            "ClickMWMiddleware stands before SecurityMiddleware: our own routes would not be led "
            "to https by it.",
            hint=f"Move {MIDDLEWARE!r} down, right after SecurityMiddleware.",
            id="clickmw.W003",
        )


def _folders(settings: Settings) -> Iterator[CheckMessage]:
    folders = {"CLICKMW['JOURNAL']": settings.journal}
    if settings.database is not None:
        folders["CLICKMW['STORE']"] = settings.database.parent
    for name, folder in folders.items():
        if not os.access(_existing(folder), os.W_OK):
            yield Warning(
                f"{folder} cannot be written: pages work, and events are dropped and counted.",
                hint=f"Let the server's user write there, or set {name} to another place.",
                id="clickmw.W004",
            )


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.resolve().parents) if path.exists())
