"""Click analytics for search results, for any WSGI application.

The journey of a click is the list of modules: ``scanner`` and ``rewrite`` find the result links of
a page, ``tokens`` signs them; ``redirect`` follows them; ``recorder`` makes the event clean and
``journal`` keeps it; ``drain`` moves it to one of ``stores``, where ``counting`` decides and
``rollups`` adds; ``report`` shows it. ``middleware`` is the door they all stand behind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["ClickMW", "ClickMWError", "SettingsError", "__version__"]

if TYPE_CHECKING:
    from clickmw.errors import ClickMWError, SettingsError
    from clickmw.middleware import ClickMW


def __getattr__(name: str) -> object:
    """Load the public names on first use, so that importing the package costs nothing."""
    if name == "ClickMW":
        from clickmw.middleware import ClickMW

        return ClickMW
    if name in ("ClickMWError", "SettingsError"):
        from clickmw import errors

        return getattr(errors, name)
    raise AttributeError(f"module 'clickmw' has no attribute {name!r}")
