"""The pages of the report that only its owner has: set-up with a test click, and shared links."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from clickmw.assets import script_tag
from clickmw.errors import BadFilter
from clickmw.login import ReportAccess
from clickmw.setting_up import DJANGO, FLASK, MARKUP, WSGI, Checkup, Finding
from clickmw.shares import LABEL_CHARACTERS, TERMS, Share
from clickmw.sites import Sites
from clickmw.tables import write_csv, write_json
from clickmw.trial import Station

#: Path below the report → the methods it takes.
OWNED: Mapping[str, str] = {
    "setup": "GET, HEAD",
    "test-click": "POST",
    "shares": "GET, HEAD",
    "share": "POST",
    "unshare": "POST",
}
#: Path below the report → what its tab says.
TABS = (("setup", "Set-up"), ("shares", "Sharing"))
SETUP_COLUMNS = ("topic", "verdict", "text", "remedy")
SHARE_COLUMNS = ("label", "site", "made_ms", "expires_ms")


class OwnerSettings(Protocol):
    """The settings that these pages read."""

    @property
    def sites(self) -> Sites: ...


class Install(NamedTuple):
    """What the set-up page knows of the install it belongs to.

    ``look_around`` takes the environ of the request that asks, ``try_click`` a path of this host
    and the handle of a site.
    """

    look_around: Callable[[dict[str, Any]], Checkup] = lambda _environ: Checkup([], [])
    try_click: Callable[[str, str], list[Station]] = lambda _location, _site: []


NO_INSTALL = Install()


class Sheet(NamedTuple):
    """What a page shows: its template with what that needs, and its rows for the files."""

    name: str
    template: str
    context: dict[str, Any]
    columns: tuple[str, ...]
    rows: list[dict[str, Any]]

    def as_json(self) -> bytes:
        """Return the rows as the ``.json`` file has them."""
        return write_json({self.name: self.rows})

    def as_csv(self) -> bytes:
        """Return the rows as the ``.csv`` file has them."""
        return write_csv(self.columns, [[row[name] for name in self.columns] for row in self.rows])


class Owner:
    """Make what these pages show, and do what their forms ask."""

    def __init__(self, settings: OwnerSettings, access: ReportAccess, install: Install) -> None:
        self._handles = [site.handle for site in settings.sites.all]
        self._access = access
        self._install = install

    def answer(
        self, name: str, environ: dict[str, Any], root: str, form: Mapping[str, str]
    ) -> Sheet | None:
        """Return the page at *name*, one of OWNED; None: to the list of shared links.

        Raises :class:`BadFilter` for a form that asks for what does not exist, and OSError when a
        link cannot be kept.
        """
        if name in {"setup", "test-click"}:
            site = self._site(form.get("site", ""))
            is_test = name == "test-click"
            stations = self._install.try_click(f"{root}/", site) if is_test else []
            return self._setup(environ, root, stations)
        if name == "unshare":
            self._access.shares.revoke(form.get("name", ""))
            return None
        if name == "share":
            place = f"{self._access.origin(environ)}{root}/"
            return self._shares(f"{place}?share={self._make(form)}")
        return self._shares("")

    def _setup(self, environ: dict[str, Any], root: str, stations: list[Station]) -> Sheet:
        checkup = self._install.look_around(environ)
        context = {
            "checkup": checkup,
            "stations": stations,
            "handles": self._handles,
            "markup": MARKUP,
            "snippet": script_tag("clickmw.js", root.removesuffix("/report")),
            "flask": FLASK,
            "django": DJANGO,
            "wsgi": WSGI,
        }
        rows = [_finding(each) for each in (*checkup.chain, *checkup.troubles)]
        return Sheet("setup", "setup.html", context, SETUP_COLUMNS, rows)

    def _make(self, form: Mapping[str, str]) -> str:
        """Return the token of the link that *form* asks for."""
        label, days = form.get("label", "").strip(), form.get("days", "")
        if not label or len(label) > LABEL_CHARACTERS or not label.isprintable():
            raise BadFilter(f"Say in 1 to {LABEL_CHARACTERS} characters whom the link is for.")
        if days not in map(str, TERMS):
            raise BadFilter(f"A link lasts {', '.join(map(str, TERMS))} days.")
        return self._access.shares.make(label, self._site(form.get("site", "")), int(days))

    def _site(self, handle: str) -> str:
        if handle and handle not in self._handles:
            raise BadFilter("There is no site of this name.")
        return handle

    def _shares(self, link: str) -> Sheet:
        shares = self._access.shares.all()
        context = {
            "shares": shares,
            "link": link,
            "terms": TERMS,
            "handles": self._handles,
            "label_characters": LABEL_CHARACTERS,
        }
        return Sheet("shares", "shares.html", context, SHARE_COLUMNS, [_share(s) for s in shares])


def _finding(finding: Finding) -> dict[str, Any]:
    return finding._asdict()


def _share(share: Share) -> dict[str, Any]:
    return {name: getattr(share, name) for name in SHARE_COLUMNS}
