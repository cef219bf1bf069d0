"""Where a result link leads: the one absolute form that may be signed, or the reason why not.

A redirect sends a visitor exactly where a browser would have gone without us. Whatever browsers
and servers might read differently is refused, and its link stays as it was.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address
from typing import NamedTuple
from unicodedata import bidirectional, category, normalize, ucd_3_2_0
from urllib.parse import quote

LENGTH_LIMIT = 2_048  #: characters of a location
#: Characters of a Host header that is looked at: no name has as many, and caches keep what they are given.
HOST_LIMIT = 1_024


class Target(NamedTuple):
    """A link that may be followed.

    ``location`` is exactly what goes into the Location header: printable ASCII; an absolute path
    on the page's own host, else an absolute http or https URL. ``own``: the page's own host.
    """

    location: str
    own: bool


class _Url(NamedTuple):
    scheme: str
    host: str  # with the port, unless it is the scheme's own
    path: str
    query: str | None
    fragment: str | None

    def tail(self) -> str:
        query = "" if self.query is None else "?" + quote(self.query, safe=_QUERY_SAFE)
        fragment = "" if self.fragment is None else "#" + quote(self.fragment, safe=_FRAGMENT_SAFE)
        return quote(self.path, safe=_PATH_SAFE) + query + fragment


class _Refused(Exception):
    """Carries the short reason why a link is not signed."""


# What browsers leave alone in each part; quotes are encoded everywhere, which browsers do in part.
_PATH_SAFE = "!$%&()*+,-./:;=@[]_|~"
_QUERY_SAFE = _PATH_SAFE + "?^`{}\\"
_FRAGMENT_SAFE = _PATH_SAFE + "?#^{}\\"

# A segment that begins with a dot, and a host label in punycode, take the careful way.
_PLAIN_TAIL = (
    r"(?:/(?!\.|%2[eE])[A-Za-z0-9!$%&()*+,\-.:;=@_|~]*+)++"
    r"(?:\?[!$-&(-;=?-~]*+)?+(?:\#[!\#-&(-;=?-_a-~]*+)?+"
)
_PLAIN_URL = re.compile(
    r"https?://((?:(?!xn--)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?+\.)++"
    rf"(?!xn--|localhost[/])[a-z][a-z0-9-]{{1,62}}+)({_PLAIN_TAIL})\Z"
)
_PLAIN_PATH = re.compile(rf"(?!//){_PLAIN_TAIL}\Z")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):")
_NEVER = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_AUTHORITY_END = re.compile(r"[/?#]")
_HOST_PORT = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::(.*))?", re.DOTALL)
# Of a scheme that browsers know, the slashes may be missing.
_USER = re.compile(
    r"((?:[a-z][a-z0-9+.\-]*:)?[/\\]{2,}|(?:https?|ftp|wss?):[/\\]?)[^/?#\\]*@", re.IGNORECASE
)
_ASCII_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_DOTTED_QUAD = re.compile(r"(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!\Z)|\Z)){4}", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_DOTS = re.compile(r"[.\u3002\uff0e\uff61]")
_ONE_DOT = frozenset({".", "%2e"})
_TWO_DOTS = frozenset({"..", ".%2e", "%2e.", "%2e%2e"})
_NO_HOST = "\0"  # of a page whose Host header is none: no link has it
_DEFAULT_PORTS = {"http": 80, "https": 443}
_INVISIBLE = frozenset("\u115f\u1160\u17b4\u17b5")
_TEXT_CATEGORIES = frozenset({"Ll", "Lo", "Lm", "Mn", "Mc", "Nd", "So", "Pd"})


def resolve(
    href: str,
    *,
    page_path: str,
    page_host: str,
    base: str | None = None,
    target_hosts: frozenset[str] | None = None,
    page_scheme: str = "https",
) -> Target | str:
    """Return the target of *href*, or the short reason why this link is never signed.

    ``page_path`` is the page's path as in the address bar (percent-encoded), ``page_host`` its
    Host header, ``base`` the href of the page's base element, ``page_scheme`` what ``//host``
    links begin with. Reasons: empty, fragment, length, control, space, backslash, scheme,
    userinfo, host (malformed, or outside ``target_hosts``), port, private, path.
    """
    plain = _PLAIN_URL.match(href)
    if plain is None or len(href) > LENGTH_LIMIT:
        return _resolve_carefully(href, page_path, page_host, base, target_hosts, page_scheme)
    host, tail = plain.groups()
    if host == _page_host(page_host):
        return "path" if tail.startswith("//") else Target(tail, True)
    if target_hosts is not None and host not in target_hosts:
        return "host"
    return Target(href, False)


def keeps_host(base: str, *, page_path: str, page_host: str, page_scheme: str = "https") -> bool:
    """Tell whether paths are the page's own where its base element says *base*; see :func:`resolve`."""
    host = _page_host(page_host)
    try:
        return _start(page_path, host, page_scheme, base).host == host
    except _Refused:
        return False


def problem(location: str, *, target_hosts: frozenset[str] | None = None) -> str | None:
    """Return why *location*, taken from a signed link, may not be followed; None when it may."""
    plain = _PLAIN_URL.match(location) if len(location) <= LENGTH_LIMIT else None
    if plain is not None and (target_hosts is None or plain[1] in target_hosts):
        return None
    found = resolve(location, page_path="/", page_host="", target_hosts=target_hosts)
    if isinstance(found, str):
        return found
    return None if found.location == location else "changed"


def host_of(location: str) -> str:
    """Return the lower-case host of an absolute URL without user and port, "" for an absolute path."""
    _, slashes, rest = location.partition("://")
    if not slashes or location.startswith("/"):
        return ""
    authority = _AUTHORITY_END.split(rest, maxsplit=1)[0]
    return _without_port(authority.rpartition("@")[2].lower())


def without_user(url: str) -> str:
    """Return *url* without user and password, wherever a browser would read them."""
    found = _USER.match(url) if "@" in url else None
    return found[1] + url[found.end() :] if found else url


def ascii_host(host: str) -> str:
    """Return a host name, with or without port, in the form used for comparing; "" when malformed.

    Lower case, international labels in punycode, no port, no dot at the end.
    """
    if len(host) > HOST_LIMIT:
        return ""
    try:
        return _ascii_host(_without_port(host.strip())).rstrip(".")
    except _Refused:
        return ""


def _resolve_carefully(
    href: str,
    page_path: str,
    page_host: str,
    base: str | None,
    target_hosts: frozenset[str] | None,
    page_scheme: str,
) -> Target | str:
    if base is None and len(href) <= LENGTH_LIMIT and _PLAIN_PATH.match(href):
        return Target(href, True)
    try:
        _check_text(href)
        if href.startswith("#"):
            return "fragment"
        start = _start(page_path, _page_host(page_host), page_scheme, base)
        return _target(_parse(href, start), _page_host(page_host), target_hosts)
    except _Refused as refused:
        return str(refused)


@lru_cache(maxsize=64)
def _start(page_path: str, page_host: str, page_scheme: str, base: str | None) -> _Url:
    """Return the URL that relative links of this page begin from."""
    path = "/" + page_path.partition("?")[0].partition("#")[0].removeprefix("/")
    page = _Url(page_scheme, page_host, _flatten(path), None, None)
    text = (base or "").strip(" \t\r\n\f")
    if not text:
        return page
    _check_text(text)
    return _parse(text, page)


def _check_text(text: str) -> None:
    if not text:
        raise _Refused("empty")
    if len(text) > LENGTH_LIMIT:
        raise _Refused("length")
    if _NEVER.search(text):
        raise _Refused("control")
    if text[0].isspace() or text[-1].isspace():
        raise _Refused("space")
    if "\\" in text.partition("?")[0]:
        raise _Refused("backslash")


def _parse(text: str, start: _Url) -> _Url:
    rest, hash_sign, after = text.partition("#")
    fragment = after if hash_sign else None
    scheme, rest = _scheme(rest, start)
    if rest.startswith("//"):
        end = _AUTHORITY_END.search(rest, 2)
        stop = end.start() if end else len(rest)
        host = _authority(rest[2:stop], scheme)
        path, query = _path_and_query(rest[stop:])
        return _Url(scheme, host, _flatten(path or "/"), query, fragment)
    path, query = _path_and_query(rest)
    if not path:
        query = start.query if query is None else query
        return _Url(scheme, start.host, start.path, query, fragment)
    if not path.startswith("/"):
        path = start.path.rpartition("/")[0] + "/" + path
    return _Url(scheme, start.host, _flatten(path), query, fragment)


def _scheme(text: str, start: _Url) -> tuple[str, str]:
    """Split off the scheme; "https:evil" is refused: it depends on the scheme of the page."""
    found = _SCHEME.match(text)
    if found is None:
        if text.startswith("///"):
            raise _Refused("host")
        return start.scheme, text
    scheme, rest = found[1].lower(), text[found.end() :]
    if scheme not in _DEFAULT_PORTS:
        raise _Refused("scheme")
    if not rest.startswith("//") or rest.startswith("///"):
        raise _Refused("host")
    return scheme, rest


def _path_and_query(text: str) -> tuple[str, str | None]:
    path, mark, query = text.partition("?")
    return path, query if mark else None


def _authority(text: str, scheme: str) -> str:
    if "@" in text:
        raise _Refused("userinfo")
    found = _HOST_PORT.fullmatch(text)
    if found is None:
        raise _Refused("host")
    host = _ascii_host(found[1])
    port = _port(found[2] or "")
    return host if port in (None, _DEFAULT_PORTS[scheme]) else f"{host}:{port}"


def _port(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 8) or int(text) > 65_535:
        raise _Refused("port")
    return int(text)


@lru_cache(maxsize=1024)
def _ascii_host(host: str) -> str:
    """Return *host* as a browser would send it, or raise with the reason."""
    if "\u1e9e" in host:
        raise _Refused("host")  # capital sharp s: browsers of different age open different hosts
    host = _lower(host)
    if host.startswith("["):
        return _ipv6(host)
    labels = [_ascii_label(label) for label in _DOTS.split(host)]
    ascii_host = ".".join(labels)
    if not labels[-1]:
        labels.pop()
    if not labels or not all(labels) or len(ascii_host) > 253 or _mixes_directions(labels):
        raise _Refused("host")
    return ascii_host


def _ipv6(host: str) -> str:
    try:
        address = IPv6Address(host[1:-1])
    except AddressValueError:
        raise _Refused("host") from None
    if address.ipv4_mapped is not None or address.scope_id is not None:
        raise _Refused("private")  # spelt differently by different programs
    return f"[{address.compressed}]"


def _ascii_label(label: str) -> str:
    if label.isascii() and not label.startswith("xn--"):
        if label and not _ASCII_LABEL.fullmatch(label):
            raise _Refused("host")
        return label
    try:
        encoded = _decoded_label(label) if label.isascii() else _encoded_label(label)
    except UnicodeError:
        raise _Refused("host") from None
    if len(encoded) > 63:
        raise _Refused("host")
    return encoded


def _decoded_label(label: str) -> str:
    """Return a punycode label that a browser would take, else raise UnicodeError."""
    text = label[4:].encode("ascii").decode("punycode")
    if text.isascii() or not _is_label_text(text) or _punycode(text) != label:
        raise UnicodeError("no valid punycode")
    return label


def _encoded_label(label: str) -> str:
    """Return the punycode of an international label, else raise UnicodeError.

    Browsers keep ß and final sigma, the codec (older than they) does not: it judges without them.
    Where the two still differ the label is refused.
    """
    text = normalize("NFKC", _lower(normalize("NFKC", label)))
    if text.isascii():
        if not _ASCII_LABEL.fullmatch(text) or text.startswith("xn--"):
            raise UnicodeError("no host label")
        return text
    if any(text.count(kept) != label.count(kept) for kept in "\u00df\u03c2"):
        raise UnicodeError("only as typed are they kept")
    probe = text.replace("\u00df", "s").replace("\u03c2", "\u03c3")
    if not _is_label_text(text) or probe.casefold() != probe:
        raise UnicodeError("no host label")
    if any(ucd_3_2_0.category(char) == "Cn" for char in probe):
        raise UnicodeError("younger than the rules for host names")
    if probe.encode("idna").decode("ascii") != _punycode(probe):
        raise UnicodeError("spelt differently by older programs")
    return _punycode(text)


def _lower(text: str) -> str:
    # Each character by itself: a sigma at the end of a word is nothing special in a host.
    return text.lower() if text.isascii() else "".join(char.lower() for char in text)


def _punycode(text: str) -> str:
    return text if text.isascii() else "xn--" + text.encode("punycode").decode("ascii")


def _is_label_text(text: str) -> bool:
    if normalize("NFKC", text) != text or text.lower() != text or category(text[0])[0] == "M":
        return False
    if text.startswith("-") or text.endswith("-") or text[2:4] == "--" or _INVISIBLE & set(text):
        return False
    return all(category(char) in _TEXT_CATEGORIES for char in text)  # the hyphen is a Pd


def _mixes_directions(labels: list[str]) -> bool:
    """Tell whether a right-to-left host has a label that begins with a digit, or one of both."""
    decoded = [
        label[4:].encode("ascii").decode("punycode") if label.startswith("xn--") else label
        for label in labels
    ]
    directions = [{bidirectional(char) for char in label} for label in decoded]
    if not any(found & {"R", "AL", "AN"} for found in directions):
        return False
    return any(bidirectional(label[0]) not in ("L", "R", "AL") for label in decoded) or any(
        found >= {"L", "AN"} for found in directions
    )


def _flatten(path: str) -> str:
    """Return *path* without its dot segments, as browsers do; it begins with a slash."""
    kept: list[str] = []
    segments = path[1:].split("/")
    for segment in segments:
        dots = segment.lower()
        if dots in _TWO_DOTS:
            kept[-1:] = []
        elif dots not in _ONE_DOT:
            kept.append(segment)
    if segments[-1].lower() in _ONE_DOT | _TWO_DOTS:
        kept.append("")
    return "/" + "/".join(kept)


def _target(url: _Url, page_host: str, target_hosts: frozenset[str] | None) -> Target | str:
    own = url.host == page_host
    tail = url.tail()
    if own and tail.startswith("//"):
        return "path"
    if not own and (reason := _foreign(url.host, target_hosts)):
        return reason
    location = tail if own else f"{url.scheme}://{url.host}{tail}"
    return "length" if len(location) > LENGTH_LIMIT else Target(location, own)


def _foreign(host: str, target_hosts: frozenset[str] | None) -> str:
    name = _without_port(host)
    if target_hosts is not None:
        known = host in target_hosts or name in target_hosts or name.strip("[].") in target_hosts
        return ("private" if _is_odd_number(name) else "") if known else "host"
    return "private" if _is_private(name) else ""


def _is_private(name: str) -> bool:
    """Tell whether *name* may mean a machine of the visitor's own network."""
    if name.startswith("["):
        return True
    labels = name.rstrip(".").split(".")
    return len(labels) < 2 or labels[-1] == "localhost" or _NUMBER.fullmatch(labels[-1]) is not None


def _is_odd_number(name: str) -> bool:
    """Tell whether *name* is an address that browsers read in another spelling."""
    last = name.rstrip(".").rpartition(".")[2]
    return _NUMBER.fullmatch(last) is not None and not _DOTTED_QUAD.fullmatch(name)


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


def _page_host(page_host: str) -> str:
    """Return a Host header in the form that links' hosts are compared with."""
    return _compared(page_host) if len(page_host) <= HOST_LIMIT else _NO_HOST


@lru_cache(maxsize=256)
def _compared(page_host: str) -> str:
    host = page_host.strip().lower()
    name = _without_port(host)
    try:
        port = _port(host[len(name) :].removeprefix(":"))
        name = _ascii_host(name)
    except _Refused:
        return _NO_HOST
    return name if port in (None, 80, 443) else f"{name}:{port}"
