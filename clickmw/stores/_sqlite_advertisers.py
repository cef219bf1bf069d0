"""Whose clicks are whose: the advertisers of the settings, as tables that every query can read."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from clickmw.sites import Advertiser, Site

FIND_ADVERTISERS = """
-- One row per advertiser of a site.
SELECT site, id, name, slug, network_id, network_name FROM advertiser ORDER BY site, id
"""
FIND_TARGETS = """
-- One row per ad or host that is an advertiser's.
SELECT site, kind, target, advertiser FROM advertiser_target ORDER BY site, kind, target
"""
ADD_ADVERTISER = """
INSERT INTO advertiser (site, id, name, slug, network_id, network_name) VALUES (?, ?, ?, ?, ?, ?)
"""
ADD_TARGET = "INSERT INTO advertiser_target (site, kind, target, advertiser) VALUES (?, ?, ?, ?)"

Rows = list[tuple[Any, ...]]


def name_advertisers(connection: sqlite3.Connection, sites: Sequence[Site]) -> None:
    """Make the tables say what *sites* say, in a transaction of its own; without sites they stay.

    Where two advertisers have the same id, host or ad, it is the first one's.
    """
    wanted = _rows(sites)
    if not sites or _stored(connection) == wanted:
        return
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        connection.execute("DELETE FROM advertiser")
        connection.execute("DELETE FROM advertiser_target")
        connection.executemany(ADD_ADVERTISER, wanted[0])
        connection.executemany(ADD_TARGET, wanted[1])


def _stored(connection: sqlite3.Connection) -> tuple[Rows, Rows]:
    advertisers = connection.execute(FIND_ADVERTISERS).fetchall()
    return advertisers, connection.execute(FIND_TARGETS).fetchall()


def _rows(sites: Sequence[Site]) -> tuple[Rows, Rows]:
    advertisers: dict[tuple[str, int], tuple[Any, ...]] = {}
    targets: dict[tuple[str, str, str], tuple[Any, ...]] = {}
    for site in sites:
        for each in site.advertisers:
            row = (site.handle, each.id, each.name, each.slug, *_network(each))
            advertisers.setdefault((site.handle, each.id), row)
            names = [("ad", ad_id) for ad_id in each.ad_ids]
            names += [("host", host) for host in each.hosts]
            for kind, name in names:
                key = (site.handle, kind, name)
                targets.setdefault(key, (*key, each.id))
    return sorted(advertisers.values()), sorted(targets.values())


def _network(advertiser: Advertiser) -> tuple[int | None, str | None]:
    network = advertiser.network
    return (network.id, network.name) if network else (None, None)
