"""The one install of a Django process: settings from ``CLICKMW``, secret and folder from Django."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings as site
from django.core import mail
from django.core.signals import setting_changed

from clickmw.middleware import Door
from clickmw.settings import Settings

#: Key of the environ: Django's request, for ``REPORT_AUTH`` callables.
REQUEST = "clickmw.request"
#: In CLICKMW beside the settings: whether tests of the site are measured, too.
TESTING = "TESTING"


@cache
def door() -> Door:
    """Return the install of this process, made on first use; a wrong setting raises here."""
    return Door(_no_application, Settings.load({}, **sources()))


def sources() -> dict[str, Any]:
    """Return where settings come from in a Django site, as ``Settings.load`` takes it."""
    given = {f"CLICKMW_{name}": value for name, value in _given().items() if name != TESTING}
    return {"framework": given, "framework_name": "Django", "derived": _derived()}


def is_quiet() -> bool:
    """Tell whether the site's own tests run, which are nobody's visits; ``TESTING`` asks for them.

    Django's test runner and pytest-django replace the mail's outbox before anything else.
    """
    return hasattr(mail, "outbox") and not _given().get(TESTING)


def _given() -> dict[str, Any]:
    return dict(getattr(site, "CLICKMW", None) or {})


def _derived() -> dict[str, Any]:
    folder = getattr(site, "BASE_DIR", None)
    return {
        "secret": site.SECRET_KEY,
        "old_secrets": tuple(site.SECRET_KEY_FALLBACKS) or None,
        "store": f"sqlite:///{Path(folder) / 'clicks.db'}" if folder else None,
        "time_zone": site.TIME_ZONE if site.USE_TZ else None,
        "report_auth": is_staff,
    }


def is_staff(environ: dict[str, Any]) -> bool:
    """Tell whether the signed-in user of Django may see the report: active staff."""
    user = getattr(environ.get(REQUEST), "user", None)
    return bool(user and user.is_active and user.is_staff)


def _no_application(
    _environ: dict[str, Any], _start_response: Callable[..., Any]
) -> Iterable[bytes]:
    raise RuntimeError("Django answers its own requests; clickmw was handed one by mistake.")


def _forget(*, setting: str, **_more: Any) -> None:
    """Read the settings again after a test has changed them."""
    if setting in {"CLICKMW", "SECRET_KEY", "SECRET_KEY_FALLBACKS", "TIME_ZONE"}:
        if door.cache_info().currsize:
            door().worker.close()
        door.cache_clear()


setting_changed.connect(_forget, dispatch_uid="clickmw")
