"""Time zones by name, on machines that may know none but UTC."""

from __future__ import annotations

from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo

from clickmw.errors import StoreError


def zone_of(name: str) -> tzinfo:
    """Return the zone called *name*; one that this machine does not know is a :class:`StoreError`."""
    if name == "UTC":  # needs no data
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise StoreError(
            f"days are kept in the time zone {name}, which this machine does not know. Install its "
            "zone data (pip install tzdata); events wait in the journal"
        ) from error
