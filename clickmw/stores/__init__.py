"""Where events are kept: one module for each kind of store, called like the scheme of its URL."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from clickmw.errors import SettingsError
from clickmw.stores.base import Store, StoreOptions


def store_kinds() -> list[str]:
    """Return the URL schemes that have a store, in order of the alphabet."""
    names = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name for name in names if name != "base" and not name.startswith("_"))


def open_store(url: str, options: StoreOptions) -> Store:
    """Return the store that *url* names; nothing is opened or created yet."""
    scheme = url.partition(":")[0].partition("+")[0]
    if scheme not in store_kinds():
        raise SettingsError(
            f"store={url!r}: there is no store of kind {scheme!r}. Known kinds: "
            f"{', '.join(store_kinds())}. Write for example store='sqlite:///clicks.db'."
        )
    store: Store = import_module(f"clickmw.stores.{scheme}").open_store(url, options)
    return store
