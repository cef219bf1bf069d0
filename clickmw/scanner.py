"""Where the result links of an HTML page are: finds them in its bytes and replaces their hrefs.

It reads tags exactly as browsers do, whole pages or piece by piece, in one pass and linear time,
and changes nothing but href values. What HTML says is in :mod:`clickmw.html_grammar`.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from clickmw import html_grammar as html
from clickmw.html_grammar import Attributes, Compound, charset_is_safe

__all__ = ["KEEP", "Container", "Link", "ScanRule", "Scanner", "Sign", "charset_is_safe"]

MODULE_CODE = re.compile(r"[A-Za-z0-9_-]{1,32}")
MAX_POSITION = 100_000
MAX_COUNT = 10**9
MAX_JSON = 1000
# An open tag longer than this is passed on, and with it the rest of the page.
MAX_HELD = 1 << 20
# Each set of container names costs one compilation; a page that names more is read tag by tag.
MAX_PATTERNS = 8

LINK_MARKER = b"data-click"
POSITION = b"data-click-position"
MODULE = b"data-click-module"
CONTAINER_MARKERS = (MODULE, b"data-affiliate")
LINK_OPTIONS = frozenset((POSITION, MODULE))
SPACES = "\t\n\f\r "

KEEP = "keep"  # what a signer returns for a link that stays as it was but uses up its slot


@dataclass(slots=True)
class Container:
    """An element that holds a list of results. Numbers of results and slots, not of bytes."""

    module: str  # "" when each link brings its own (Search.gov's form)
    query: str | None
    total: int | None
    offset: int
    links_all: bool
    site: str | None
    language: str | None
    profile: str | None
    tag: str | None
    rule: int | None  # index in the rules given, None for the markup convention
    count: int = 0  # slots used up so far


class Link(NamedTuple):
    """A link that may be signed."""

    container: Container
    href: str  # references decoded, surrounding white space stripped
    position: int  # from 1
    module: str
    item: str | None
    base: str | None


Sign = Callable[[Link], str | None]
"""Return the new href (ASCII, without white space, quotes, ``= < >`` and `````), or None.

With None the link stays as it was and uses up no slot; with :data:`KEEP` it uses one.
"""


class ScanRule(NamedTuple):
    """Selectors for pages without marks; *link* may have one step: ``"h3 a"``."""

    container: str
    item: str | None
    link: str
    module: str


class _Rule(NamedTuple):
    container: Compound
    item: Compound | None
    step: Compound | None
    link: Compound
    module: str


class _Stated(NamedTuple):
    """What a link says of itself."""

    position: int | None
    module: str | None


UNSTATED = _Stated(None, None)


@dataclass(slots=True)
class _Item:
    name: str | None
    position: int | None = None  # set when its first link is signed


@dataclass(slots=True)
class _Scope:
    """An open element that matters, with what holds inside it."""

    name: bytes
    container: Container
    item: _Item | None = None
    stepped: bool = False  # inside the first step of the rule's link selector
    depth: int = 1  # open elements of the same name, up to this one


def _rule(rule: ScanRule, charset: str) -> _Rule:
    *steps, link = rule.link.split()
    if len(steps) > 1:
        raise ValueError(f"the selector {rule.link!r} has more than one descendant step")
    return _Rule(
        _noticed(rule.container, charset),
        _noticed(rule.item, charset) if rule.item else None,
        _noticed(steps[0], charset) if steps else None,
        html.compound(link, charset),
        rule.module,
    )


def _noticed(text: str, charset: str) -> Compound:
    selector = html.compound(text, charset)
    if not selector.tag and not selector.word:
        raise ValueError(f"the selector {text!r} names no tag, id, class or attribute")
    return selector


def _number(text: str | None, low: int, high: int) -> int | None:
    """Return a plain decimal number within the limits, else None."""
    if not text or len(text) > 10 or not (text.isascii() and text.isdigit()):
        return None
    return number if low <= (number := int(text)) <= high else None


def _stated_json(text: str) -> dict[str, Any] | None:
    """Return the object in a ``data-click`` value, ``{}`` for none, or None when malformed."""
    if not text.startswith("{"):
        return {}
    try:
        stated = json.loads(text) if len(text) <= MAX_JSON else None
    except (ValueError, RecursionError):
        return None
    return stated if isinstance(stated, dict) else None


def _use_slot(container: Container, item: _Item | None, position: int) -> None:
    """Count a link; all links of an item share the slot, and the position, of the first."""
    if item is None:
        container.count += 1
    elif item.position is None:
        container.count += 1
        item.position = position


def _selectors(rules: Sequence[_Rule]) -> list[Compound]:
    """Return the selectors of elements to notice, those of the links left out."""
    return [s for rule in rules for s in (rule.container, rule.item, rule.step) if s is not None]


def _attributes(data: bytes, tag: re.Match[bytes]) -> dict[bytes, bytes]:
    """Return lower-case name → value; the first of a name wins.

    Our own attributes count only in lower case, as they are found by a plain search.
    """
    found: dict[bytes, bytes] = {}
    for name, double, single, bare in html.ATTRIBUTE.findall(data, tag.end(2), tag.end() - 1):
        lower = name.lower()
        if lower not in found and (lower == name or not lower.startswith(b"data-")):
            found[lower] = double or single or bare
    return found


class Scanner:
    """Replaces the links of one page: either :meth:`whole`, or :meth:`feed` and :meth:`close`.

    When *sign* raises, nothing of the piece at hand has been handed out: :meth:`close` returns
    it, and pieces fed later pass unchanged.
    """

    def __init__(
        self,
        sign: Sign,
        *,
        charset: str = "utf-8",
        rules: Sequence[ScanRule] = (),
        script: bytes = b"",
    ) -> None:
        self.links = 0  # hrefs replaced
        self.containers: list[Container] = []  # all of the page, in its order
        self._sign = sign
        self._codec = html.reading_codec(charset)
        self._rules = [_rule(rule, self._codec) for rule in rules]
        self._script = script  # empty once inserted
        self._base: str | None = None

        # The open elements that matter, innermost last; the same by name.
        self._scopes: list[_Scope] = []
        self._named: dict[bytes, list[_Scope]] = {}
        self._foreign = html.Foreign()

        # How the next bytes are read, and whether reading needs more of them first.
        self._read: Callable[[bytes, int], int] = self._read_markup
        self._in_markup = True
        self._starved = False
        self._raw = b""  # the element whose raw text is read
        self._nested = False  # inside a <script> inside a <!-- of a script's text
        self._frugal = False  # a whole page: stop reading where nothing can follow

        self._skip: Callable[[bytes, int, int], Any]  # eats what is of no interest
        # The tags of interest: those that hold a marker, and those called by a name.
        containers = [rule.container for rule in self._rules]
        openers = [*CONTAINER_MARKERS, *(c.word for c in containers if c.word)]
        self._openers = list(dict.fromkeys(openers))
        self._bare = frozenset(c.tag for c in containers if c.tag and not c.word)
        words = (selector.word for selector in _selectors(self._rules))
        others = [*CONTAINER_MARKERS[1:], *(word for word in words if word)]
        self._others = dict.fromkeys(others, -1)  # markers but LINK_MARKER, with their next place
        self._others_ahead = -1  # the nearest of these
        self._ahead = -1  # the nearest of all
        self._patterns: set[frozenset[bytes]] = set()
        self._set_names(self._bare)

        # What the piece at hand has become so far, and what is held back of the one before.
        self._out: list[bytes] = []
        self._copied = 0
        self._held: list[bytes] = []
        self._held_size = 0
        self._lacks = b""  # the byte without which the held tag cannot end
        self._resume = 0  # how far the held tag is known; 0: nothing is

    def whole(self, body: bytes) -> bytes:
        """Return the page with its links replaced; the same object when nothing changed."""
        if not self._bare and not any(opener in body for opener in self._openers):
            return body
        self._frugal = True
        self._scan(body)
        return self._taken(body, len(body))

    def feed(self, chunk: bytes) -> bytes:
        """Take the next piece of the page; return what is settled by now.

        Nothing is held back but an unfinished tag or the beginning of one, or of the end of a
        comment or a raw text.
        """
        self._held.append(chunk)
        self._held_size += len(chunk)
        if self._lacks and not self._is_complete(chunk):
            return b""
        data = b"".join(self._held) if len(self._held) > 1 else self._held[0]
        self._held = [data]  # for close() should the scan fail
        try:
            position = self._scan(data)
        except BaseException:
            self._switch(self._read_on)
            raise
        self._held = [data[position:]] if position < len(data) else []
        self._held_size = len(data) - position
        return self._taken(data, position)

    def close(self) -> bytes:
        """Return what is still held back, unchanged."""
        held, self._held = b"".join(self._held), []
        return held

    def unsent(self) -> bytes:
        """Return, after *sign* raised in :meth:`feed`, the bytes not handed out, unchanged."""
        return self.close()

    def _scan(self, data: bytes) -> int:
        """Read *data*; return where what has to wait for more begins."""
        self._out, self._copied, self._lacks, self._starved = [], 0, b"", False
        self._others = dict.fromkeys(self._others, -1)
        self._others_ahead = self._ahead = -1
        position = 0
        while not self._starved and position < len(data):
            position = self._read(data, position)
        return position

    def _taken(self, data: bytes, end: int) -> bytes:
        if not self._out:
            return data if end == len(data) else data[:end]
        self._out.append(data[self._copied : end])
        return b"".join(self._out)

    def _replace(self, data: bytes, span: tuple[int, int], href: bytes) -> None:
        self._out.append(data[self._copied : span[0]])
        self._out.append(href)
        self._copied = span[1]
        self.links += 1

    # --- how the next bytes are read: each returns how far it came ---

    def _switch(self, read: Callable[[bytes, int], int]) -> None:
        self._read = read
        self._in_markup = read == self._read_markup

    def _read_markup(self, data: bytes, position: int) -> int:
        size = len(data)
        while self._in_markup:
            ahead = self._ahead
            if position > ahead:
                ahead = self._look_ahead(data, position)
            if ahead == size and self._frugal and self._nothing_follows():
                break
            start = data.find(b"<", self._skip(data, position, ahead).end())
            if start < 0:
                break
            if self._scopes and (link := html.PLAIN_LINK.match(data, start)) and not self._foreign:
                position = link.end()
                scope = self._scopes[-1]
                self._take_link(data, link.span(1), scope.container, scope.item, UNSTATED)
                continue
            tag = html.TAG.match(data, start)
            if tag is None:
                return self._read_sign(data, start)
            position = tag.end()
            (self._end_tag if tag[1] else self._start_tag)(data, tag)
        else:
            return position
        self._starved = True
        return size

    def _read_sign(self, data: bytes, start: int) -> int:
        """Read a ``<`` that begins no whole tag."""
        ahead = data[start : start + 9]
        cdata = b"<![CDATA[" if not self._foreign.in_html else b"<!"
        if ahead in (b"<", b"</", b"<!", b"<!-", b"<!--", b"<!---") or (
            cdata != ahead and cdata.startswith(ahead)
        ):
            self._starved = True
            return start
        if abrupt := html.COMMENT_ABRUPT.match(data, start):
            return abrupt.end()
        if ahead.startswith(b"<!--"):
            self._switch(self._read_comment)
            return start + 4
        if ahead == cdata:
            self._switch(self._read_cdata)
            return start + 9
        if tag := html.TAG_START.match(data, start):
            return self._hold(data, tag)
        if ahead.startswith((b"</", b"<!", b"<?")):
            self._switch(self._read_bogus)
            return start + 2
        return start + 1

    def _read_comment(self, data: bytes, position: int) -> int:
        end = html.COMMENT_END.search(data, position)
        if end is None:
            return self._starve(data, position, 3)
        self._switch(self._read_markup)
        return end.end()

    def _read_bogus(self, data: bytes, position: int) -> int:
        """Read a document type or what browsers take for a comment."""
        return self._read_until(b">", data, position)

    def _read_cdata(self, data: bytes, position: int) -> int:
        return self._read_until(b"]]>", data, position)

    def _read_until(self, end: bytes, data: bytes, position: int) -> int:
        found = data.find(end, position)
        if found < 0:
            return self._starve(data, position, len(end) - 1)
        self._switch(self._read_markup)
        return found + len(end)

    def _read_raw(self, data: bytes, position: int) -> int:
        end = self._raw_end(data, position)
        if end < 0:
            return self._starve(data, position, len(self._raw) + 2)
        self._switch(self._read_markup)
        return end

    def _read_script(self, data: bytes, position: int) -> int:
        start = data.find(b"<", position)
        while start >= 0:
            if turn := html.SCRIPT_TURN.match(data, start):
                self._switch(self._read_markup if turn[1] else self._read_escaped_script)
                self._nested = False
                return start if turn[1] else start + 2
            start = data.find(b"<", start + 1)
        return self._starve(data, position, 8)

    def _read_escaped_script(self, data: bytes, position: int) -> int:
        """Read script text behind ``<!--``, where a nested ``<script>`` hides one end tag."""
        for turn in html.SCRIPT_ESCAPED_TURN.finditer(data, position):
            if turn[1] is None:
                self._switch(self._read_script)
                return turn.end()
            if turn[1] and not self._nested:
                self._switch(self._read_markup)
                return turn.start()
            self._nested = not turn[1]
            position = turn.end()
        return self._starve(data, position, 8)

    def _read_on(self, data: bytes, position: int) -> int:
        """Read plain text, or a page given up, to its end."""
        return len(data)

    def _raw_end(self, data: bytes, position: int) -> int:
        """Return where the end tag of the raw text begins, or -1."""
        end = html.RAW_TEXT_END[self._raw]
        start = data.find(b"</", position)
        while start >= 0 and not end.match(data, start):
            start = data.find(b"</", start + 2)
        return start

    def _starve(self, data: bytes, position: int, width: int) -> int:
        """Wait for more; return where an end of *width* bytes, cut short, may begin."""
        self._starved = True
        start = html.END_START.search(data, max(position, len(data) - width))
        return start.start() if start else len(data)

    # --- a tag that comes in pieces ---

    def _hold(self, data: bytes, tag: re.Match[bytes]) -> int:
        self._starved = True
        self._lacks, self._resume = b">", 0
        if tag.end() < len(data):
            self._read_attributes(data, tag.end())
            self._resume -= tag.start()
        return tag.start()

    def _read_attributes(self, data: bytes, position: int) -> None:
        self._resume = html.attributes_end(data, position)
        quote = html.OPEN_QUOTE.match(data, self._resume)
        self._lacks = quote[quote.lastindex or 0] if quote else b">"

    def _is_complete(self, chunk: bytes) -> bool:
        """Tell whether *chunk* may have ended the held tag; look at nothing twice."""
        if self._held_size > MAX_HELD:
            self._switch(self._read_on)
            return True
        if self._lacks not in chunk:
            return False
        if not self._resume:
            return True
        data = b"".join(self._held)
        self._held = [data]
        self._read_attributes(data, self._resume)
        return data[self._resume : self._resume + 1] == b">"

    # --- tags ---

    def _look_ahead(self, data: bytes, position: int) -> int:
        """Find the next place of interest; links come often, other markers are seldom behind."""
        if position > self._others_ahead:
            for marker, place in self._others.items():
                if place < position:
                    found = data.find(marker, position)
                    self._others[marker] = found if found >= 0 else len(data)
            self._others_ahead = min(self._others.values())
        ahead = data.find(LINK_MARKER, position)
        others = self._others_ahead
        self._ahead = ahead if 0 <= ahead < others else others
        return self._ahead

    def _nothing_follows(self) -> bool:
        """Tell whether a page without further markers can be left as it is from here."""
        return not (self._script and self.links) and b"a" not in self._names and not self._bare

    def _set_names(self, names: frozenset[bytes]) -> None:
        """Look at the tags called by *names* (lower case), whatever is in them."""
        self._names = names
        if len(self._patterns) < MAX_PATTERNS and max(map(len, names), default=0) <= 32:
            self._patterns.add(names)
        self._choose_skip()

    def _choose_skip(self) -> None:
        exact = self._foreign or self._names not in self._patterns
        self._skip = (html.TEXT if exact else html.skip_pattern(self._names)).match

    def _start_tag(self, data: bytes, tag: re.Match[bytes]) -> None:
        name = tag[2].lower()
        empty = name in html.VOID
        is_html = True
        if self._foreign or name in (b"svg", b"math"):
            empty = html.SELF_CLOSING.match(data, tag.start(), tag.end()) is not None
            is_html = self._foreign_start(name, _attributes(data, tag), empty)
            empty = name in html.VOID if is_html else empty
        if is_html and name in html.RAW_TEXT:
            self._begin_raw(name)
        elif is_html and name == b"base" and self._base is None:
            self._set_base(data, tag)
        if name == b"a" and self._scopes:
            self._consider_link(data, tag, self._scopes[-1])
        elif (self._ahead < tag.end() or name in self._names) and not (empty or name == b"a"):
            self._consider_scope(name, _attributes(data, tag))

    def _foreign_start(self, name: bytes, attributes: Attributes, empty: bool) -> bool:
        try:
            is_html = self._foreign.start(name, attributes, empty)
        except html.TooDeep:
            self._switch(self._read_on)
            return False
        self._choose_skip()
        return is_html

    def _begin_raw(self, name: bytes) -> None:
        self._raw = name
        special = {b"script": self._read_script, b"plaintext": self._read_on}
        self._switch(special.get(name, self._read_raw))

    def _set_base(self, data: bytes, tag: re.Match[bytes]) -> None:
        href = _attributes(data, tag).get(b"href")
        if href is not None:
            self._base = self._text(href).strip(SPACES)

    def _end_tag(self, data: bytes, tag: re.Match[bytes]) -> None:
        name = tag[2].lower()
        if self._foreign:
            self._foreign.end(name)
            self._choose_skip()
        if name == b"body" and self._script and self.links:
            self._out += (data[self._copied : tag.start()], self._script)
            self._copied, self._script = tag.start(), b""
        if named := self._named.get(name):
            named[-1].depth -= 1
            if not named[-1].depth:
                self._close_scope(named[-1])

    # --- containers, items, links ---

    def _consider_scope(self, name: bytes, attributes: Attributes) -> None:
        scope = self._opened_scope(name, attributes)
        named = self._named.setdefault(name, [])
        if scope is not None:
            self._scopes.append(scope)
            named.append(scope)
        elif named:
            named[-1].depth += 1

    def _opened_scope(self, name: bytes, attributes: Attributes) -> _Scope | None:
        """Return what the element opens: a container, an item, a link selector's first step."""
        if container := self._container(name, attributes):
            self.containers.append(container)
            self._set_names(self._names | {name, *self._names_inside(container)})
            return _Scope(name, container)
        if not self._scopes:
            return None
        top = self._scopes[-1]
        item = self._item(name, attributes, top.container)
        step = self._matches("step", top.container, name, attributes)
        if not item and not step:
            return None
        if name not in self._names:
            self._set_names(self._names | {name})
        return _Scope(name, top.container, item or top.item, step or top.stepped)

    def _close_scope(self, scope: _Scope) -> None:
        """Close *scope* and what is still open inside it."""
        closed = None
        while closed is not scope:
            closed = self._scopes.pop()
            self._named[closed.name].pop()
        if not self._scopes:
            self._set_names(self._bare)

    def _container(self, name: bytes, attributes: Attributes) -> Container | None:
        if MODULE in attributes:
            return self._stated_container(attributes)
        if b"data-affiliate" in attributes and b"data-query" in attributes:
            query, site = self._text(attributes[b"data-query"]), attributes[b"data-affiliate"]
            return Container("", query, None, 0, False, self._text(site), None, None, None, None)
        for index, rule in enumerate(self._rules):
            if rule.container.matches(name, attributes):
                return Container(rule.module, None, None, 0, False, None, None, None, None, index)
        return None

    def _stated_container(self, attributes: Attributes) -> Container | None:
        def stated(option: bytes) -> str | None:
            value = attributes.get(b"data-click-" + option)
            return None if value is None else self._text(value)

        module = stated(b"module") or ""
        if not MODULE_CODE.fullmatch(module):
            return None
        return Container(
            module=module,
            query=stated(b"query"),
            total=_number(stated(b"total"), 0, MAX_COUNT),
            offset=_number(stated(b"offset"), 0, MAX_COUNT) or 0,
            links_all=attributes.get(b"data-click-links") == b"all",
            site=stated(b"site"),
            language=stated(b"language"),
            profile=stated(b"profile"),
            tag=stated(b"tag"),
            rule=None,
        )

    def _names_inside(self, container: Container) -> list[bytes]:
        """Return the names of tags to look at inside *container*."""
        names = [b"a"] if container.links_all or container.rule is not None else []
        if container.rule is not None:
            rule = self._rules[container.rule]
            names += [c.tag for c in (rule.item, rule.step) if c and c.tag and not c.word]
        return names

    def _item(self, name: bytes, attributes: Attributes, container: Container) -> _Item | None:
        value = attributes.get(b"data-click-item")
        if value is not None:
            return _Item(self._text(value) or None)
        return _Item(None) if self._matches("item", container, name, attributes) else None

    def _matches(
        self, part: str, container: Container, name: bytes, attributes: Attributes
    ) -> bool:
        """Tell whether *part* ("item", "step", "link") of the container's rule is matched."""
        if container.rule is None:
            return False
        selector: Compound | None = getattr(self._rules[container.rule], part)
        return selector is not None and selector.matches(name, attributes)

    def _consider_link(self, data: bytes, tag: re.Match[bytes], scope: _Scope) -> None:
        attributes = _attributes(data, tag)
        if not self._is_link(attributes, scope):
            return
        place = html.HREF.match(data, tag.start(), tag.end())
        plain = not attributes.get(LINK_MARKER) and LINK_OPTIONS.isdisjoint(attributes)
        stated = UNSTATED if plain else self._stated(attributes)
        if place is None or place.lastindex is None or stated is None:
            return
        item = self._item(b"a", attributes, scope.container) or scope.item
        self._take_link(data, place.span(place.lastindex), scope.container, item, stated)

    def _take_link(
        self,
        data: bytes,
        span: tuple[int, int],
        container: Container,
        item: _Item | None,
        stated: _Stated,
    ) -> None:
        """Have the link signed whose href is at *span*."""
        module = stated.module or container.module
        if not module:
            return
        position = stated.position or (item and item.position)
        if not position:
            position = container.offset + container.count + 1
        href = self._text(data[span[0] : span[1]]).strip(SPACES)
        name = item.name if item else None
        signed = self._sign(Link(container, href, position, module, name, self._base))
        if signed is None:
            return
        if signed is not KEEP:
            self._replace(data, span, signed.encode("ascii"))
        _use_slot(container, item, position)

    def _is_link(self, attributes: Attributes, scope: _Scope) -> bool:
        container = scope.container
        if b"data-click" in attributes or container.links_all:
            return True
        if container.rule is None or not self._matches("link", container, b"a", attributes):
            return False
        return scope.stepped or self._rules[container.rule].step is None

    def _stated(self, attributes: Attributes) -> _Stated | None:
        """Return what a link says of itself, or None when any of it is malformed."""
        stated = _stated_json(self._text(attributes.get(b"data-click", b"")))
        if stated is None:
            return None
        for key, option in ((POSITION, "position"), (MODULE, "module_code")):
            if key in attributes:
                stated[option] = self._text(attributes[key])
        module = stated.get("module_code")
        if module is not None and not (isinstance(module, str) and MODULE_CODE.fullmatch(module)):
            return None
        position = stated.get("position")
        number = _number(str(position), 1, MAX_POSITION)
        return None if number is None and position is not None else _Stated(number, module)

    def _text(self, value: bytes) -> str:
        return html.decode_references(value.decode(self._codec, "replace"))
