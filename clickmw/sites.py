"""The search sites of one install, and which of them a request belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from clickmw.targets import HOST_LIMIT, ascii_host


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """An access key; ``scope`` is "read", "ingest" or "admin"."""

    key: str = field(repr=False)
    scope: str = "read"


@dataclass(frozen=True, slots=True, kw_only=True)
class Publisher:
    """What a site is called in advertising protocols."""

    id: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The network that an advertiser comes through."""

    id: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Advertiser:
    """Whom clicks belong to, by ad id or by host of the clicked URL."""

    id: int
    name: str
    slug: str
    network: Network | None = None
    hosts: tuple[str, ...] = ()
    ad_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One search site. ``handle`` names it everywhere; ``time_zone`` None: that of the install."""

    handle: str
    name: str = ""
    hosts: tuple[str, ...] = ()
    time_zone: str | None = None
    access_key: str | None = field(default=None, repr=False)
    index_key: str | None = field(default=None, repr=False)
    tracking_key: str | None = field(default=None, repr=False)
    publisher: Publisher | None = None
    api_keys: tuple[Key, ...] = ()
    modules: Mapping[str, str] = field(default_factory=dict)
    advertisers: tuple[Advertiser, ...] = ()

    def absolute(self, location: str) -> str:
        """Return *location* with the site's first host when it is a path; without hosts as it is."""
        own = location.startswith("/") and self.hosts
        return f"https://{self.hosts[0]}{location}" if own else location


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Where the results are on a page that nobody can mark; selectors are simple CSS."""

    path: str
    container: str
    link: str
    module: str
    item: str | None = None
    query_param: str | None = None
    site: str | None = None


class Sites:
    """All sites of the install; without any there is one, ``default``, for every host.

    Several sites may share a host: it is the first one's, and a page may name another of them.
    """

    def __init__(self, sites: Sequence[Site] = ()) -> None:
        self.all: tuple[Site, ...] = tuple(sites) or (Site(handle="default"),)
        self.default: Site | None = next((site for site in self.all if not site.hosts), None)
        self._by_handle = {site.handle: site for site in self.all}
        self._by_host: dict[str, Site] = {}
        for site in self.all:
            for host in site.hosts:
                self._by_host.setdefault(ascii_host(host), site)
        self._cached = lru_cache(maxsize=1024)(self._look_up)

    def for_host(self, host: str | None) -> Site | None:
        """Return the site of a Host header (port and case do not matter), None when untracked."""
        return self._cached(host[: HOST_LIMIT + 1] if host else "")

    def by_handle(self, handle: str) -> Site | None:
        """Return the site called *handle*."""
        return self._by_handle.get(handle)

    def named_by_page(self, handle: str, host: str) -> Site | None:
        """Return the site that a page names, when *host* is among its hosts: pages can be forged."""
        site = self._by_handle.get(handle)
        hosts = site.hosts if site else ()
        return site if ascii_host(host) in map(ascii_host, hosts) else None

    def _look_up(self, host: str) -> Site | None:
        return self._by_host.get(ascii_host(host), self.default)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sites) and self.all == other.all

    def __repr__(self) -> str:
        return f"Sites({', '.join(site.handle for site in self.all)})"
