"""One page of results on its way out: it signs the links and knows what was shown.

Both ways to signed links end here: the rewriter, which reads the page, and the template helper
``clicks.search()``, which is told.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import quote

from clickmw.events import Search, Shown, new_query_id
from clickmw.recorder import Recorder, now_ms
from clickmw.settings import Settings
from clickmw.sites import Site
from clickmw.targets import Target, keeps_host, resolve
from clickmw.tokens import LinkSigner, LinkTarget
from clickmw.visitors import is_prefetch
from clickmw.wire import mount_path

Environ = dict[str, Any]

#: Key of the environ: mount point and path of a request when it came to our door.
DOOR = "clickmw.door"
#: Key of the environ: the pages that the template helper was told of.
PAGES = "clickmw.pages"
#: Characters of a link. Many servers refuse a request line of more than 4,094.
LINK_LIMIT = 3_500


class Listing(NamedTuple):
    """What a container or a template says of its list; None where it says nothing."""

    site: Site
    query: str
    total_hits: int | None = None
    offset: int = 0
    language: str = ""
    profile: str = ""
    tag: str = ""


class PageSearch:
    """One search of a page: lists that share site and normal query share one query id."""

    def __init__(self, listing: Listing, query: str, now: int) -> None:
        self.listing = listing
        self.query = query
        self.received_ms = now
        self.query_id = new_query_id(now)
        self.shown: list[Shown] = []

    def absorb(self, listing: Listing) -> None:
        """Take over what another list of the same search says: the first stated total counts."""
        if self.listing.total_hits is None and listing.total_hits is not None:
            self.listing = self.listing._replace(total_hits=listing.total_hits)
        if listing.offset > self.listing.offset:
            self.listing = self.listing._replace(offset=listing.offset)


class ResultPage:
    """The searches of one page that is being written for *environ*."""

    def __init__(
        self,
        environ: Environ,
        settings: Settings,
        recorder: Recorder,
        signer: LinkSigner,
        *,
        source: str = "page",
    ) -> None:
        self.environ = environ
        self.settings = settings
        self.recorder = recorder
        self.signer = signer
        self.source = source
        self.shared = False
        # As they were at our door: an application may move the mount point while it answers.
        script_name, path = environ.get(DOOR) or place_of(environ)
        #: Where our own pages are, fit for an attribute.
        self.prefix = mount_path(script_name) + settings.prefix
        self.redirect_path = f"{self.prefix}/r/"
        self.path = _as_in_address_bar(script_name + path or "/")
        self.host: str = environ.get("HTTP_HOST") or environ.get("SERVER_NAME", "")
        self.scheme: str = environ.get("wsgi.url_scheme", "https")
        self._searches: dict[tuple[str, str], PageSearch] = {}
        self._normal: dict[str, str] = {}
        self._recorded = False

    def site(self, stated: str | None = None, chosen: str | None = None) -> Site | None:
        """Return the site of this page: the one that its owner has chosen, the page states, or its host's."""
        sites = self.settings.sites
        named = sites.by_handle(chosen) if chosen else None
        if named is None and stated:
            named = sites.named_by_page(stated, self.host)
        return named or sites.for_host(self.host)

    def search(self, listing: Listing) -> PageSearch:
        """Return the search that *listing* belongs to."""
        query = self._normal.get(listing.query)
        if query is None:
            query = self._normal[listing.query] = self.recorder.clean_query(listing.query)
        key = (listing.site.handle, query)
        search = self._searches.get(key)
        if search is None:
            search = self._searches[key] = PageSearch(listing, query, now_ms())
        elif search.listing is not listing:
            search.absorb(listing)
        return search

    def target(self, href: str, base: str | None = None) -> Target | None:
        """Return where *href* leads when it may be signed; else count why not."""
        if base is not None and not self._keeps_host(base):
            self.recorder.tally("unsigned.base")
            return None
        found = resolve(
            href,
            page_path=self.path,
            page_host=self.host,
            page_scheme=self.scheme,
            base=base,
            target_hosts=self.settings.target_hosts,
        )
        if isinstance(found, str):
            self.recorder.tally(f"unsigned.{found}")
            return None
        if found.own and found.location.startswith(self.redirect_path):
            return None
        return found

    def _keeps_host(self, base: str) -> bool:
        """Tell whether our links, which are paths, lead to us below *base*."""
        return keeps_host(base, page_path=self.path, page_host=self.host, page_scheme=self.scheme)

    def show(
        self,
        search: PageSearch,
        target: Target,
        position: int,
        module: str,
        item: str = "",
        title: str = "",
    ) -> str | None:
        """Return the signed link of one result and remember that it was shown; None: too long."""
        site = search.listing.site
        url = target.location
        handle = "" if site.handle == "default" else site.handle
        link = LinkTarget(handle, search.query_id, position, module, item, url)
        signed = self.redirect_path + self.signer.sign_link(link)
        if len(signed) > LINK_LIMIT:
            self.recorder.tally("unsigned.length")
            return None
        search.shown.append(
            Shown(
                site.absolute(url),
                position,
                module,
                item,
                title,
            )
        )
        return signed

    def leave_to(self, others: Iterable[ResultPage]) -> None:
        """Forget the searches without links of ours that one of the *others* records already."""
        known = {key for other in others for key in other._searches}
        for key in known & self._searches.keys():
            if not self._searches[key].shown:
                del self._searches[key]

    def record(self) -> None:
        """Write the page's searches as one journal record; once."""
        if self._recorded or not self._searches:
            return
        self._recorded = True
        events = tuple(filter(None, map(self._event, self._searches.values())))
        if events:
            self.recorder.record(*events)

    def _event(self, search: PageSearch) -> Search | None:
        listing = search.listing
        client = self.recorder.client(self.environ, listing.site.handle, search.received_ms)
        if client.wish == "drop" and not self.shared:
            self.recorder.tally("opted_out")
            return None
        reason = (
            "robot" if client.robot and not self.shared else self.recorder.drop_reason("signed")
        )
        return Search(
            search.received_ms,
            listing.site.handle,
            search.query_id,
            search.query,
            tuple(search.shown),
            listing.total_hits,
            listing.offset,
            "" if self.shared else client.visitor,
            client.device,
            "" if self.shared else client.robot,
            reason,
            listing.language,
            listing.profile,
            listing.tag,
            self.source,
            "signed",
            int(self.shared),
            int(is_prefetch(self.environ)),
        )


def place_of(environ: Environ) -> tuple[str, str]:
    """Return where a request goes: the mount point and the path below it."""
    return environ.get("SCRIPT_NAME", ""), environ.get("PATH_INFO", "")


def _as_in_address_bar(path: str) -> str:
    """Return a WSGI path percent-encoded; servers hand it on decoded, one character a byte."""
    return quote(path, safe="!$&'()*+,/:;=@~", encoding="latin-1", errors="replace")
