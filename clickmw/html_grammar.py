"""What the HTML standard says about tags, attributes, character references and foreign content.

The regular expressions never backtrack: every repeat is possessive. A repeated group also ends
in an empty alternative, because Python before 3.11.5 leaves the position wrong when the last
round of a possessive group fails.

Source: HTML Living Standard, *13.2.5 Tokenization* and *13.2.6 Tree construction*.
"""

import codecs
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from html.entities import html5
from typing import NamedTuple

# White space as HTML has it; \s would add the vertical tab.
SPACE = rb"[\t\n\f\r ]"
# One attribute. Without its closing quote it does not match at all, so a tag cut short fails.
ATTR = (
    rb"[^\t\n\f\r />][^\t\n\f\r />=]*+(?:[\t\n\f\r ]*+=[\t\n\f\r ]*+"
    rb"""(?:"[^"]*+"|'[^']*+'|(?!["'])[^\t\n\f\r >]++|(?=>))"""
    rb"|(?![\t\n\f\r ]*+=))"
)
ATTRS = rb"(?:[\t\n\f\r /]++|" + ATTR + rb"|)*+"
NAME = rb"[a-zA-Z][^\t\n\f\r />]*+"

# A whole start or end tag: group 1 is the slash of an end tag, group 2 the name.
TAG = re.compile(rb"<(/?)(" + NAME + rb")" + ATTRS + rb">")
# Where attributes go on, for a tag that comes in pieces: only attributes that something follows.
_ATTRS_SO_FAR = re.compile(rb"(?s:[\t\n\f\r /]++|" + ATTR + rb"(?=.)|)*+")
TAG_START = re.compile(rb"</?" + NAME)
# An attribute whose quote is still open: the group that took part is the quote.
OPEN_QUOTE = re.compile(
    rb"[^\t\n\f\r />][^\t\n\f\r />=]*+[\t\n\f\r ]*+=[\t\n\f\r ]*+"
    rb"""(?:(")[^"]*+|(')[^']*+)\Z"""
)
# name, value in double quotes, in single quotes, without quotes
ATTRIBUTE = re.compile(
    rb"([^\t\n\f\r />][^\t\n\f\r />=]*+)(?:[\t\n\f\r ]*+=[\t\n\f\r ]*+"
    rb"""(?:"([^"]*+)"|'([^']*+)'|([^\t\n\f\r >]*+))|)"""
)
# The value of the first href: the group that took part is its place, quotes left out.
HREF = re.compile(
    rb"<[^\t\n\f\r />]*+(?:[\t\n\f\r /]++|(?![hH][rR][eE][fF][\t\n\f\r />=])" + ATTR + rb"|)*+"
    rb"[hH][rR][eE][fF][\t\n\f\r ]*+=[\t\n\f\r ]*+"
    rb"""(?:"([^"]*+)"|'([^']*+)'|(?!["'])([^\t\n\f\r >]++))"""
)
# The usual marked link, taken in one go: group 1 is its href. Our other attributes are not in it.
_OTHERS = rb"""(?: (?!href=|data-)[a-z-]++="[^"]*+"|)*+"""
PLAIN_LINK = re.compile(
    rb"<a" + _OTHERS + rb" data-click" + _OTHERS + rb' href="([^"]*+)"' + _OTHERS + rb">"
)
SELF_CLOSING = re.compile(rb"<" + NAME + rb"(?:[\t\n\f\r ]|/(?!>)|" + ATTR + rb"|)*+/>")


COMMENT_ABRUPT = re.compile(rb"<!---?>")
COMMENT_END = re.compile(rb"--!?>")
# A script whose text holds "<!--" may hold "<script>…</script>" before its own end tag.
SCRIPT_TURN = re.compile(rb"<(?:!--|(/)[sS][cC][rR][iI][pP][tT](?=[\t\n\f\r />]))")
SCRIPT_ESCAPED_TURN = re.compile(rb"-->|<(/?)[sS][cC][rR][iI][pP][tT](?=[\t\n\f\r />])")
# What may be the beginning of the end of a comment, a raw text or a CDATA section.
END_START = re.compile(rb"[<\-\]]")

RAW_TEXT = frozenset(b"script style textarea title xmp iframe noembed noframes plaintext".split())
VOID = frozenset(
    b"area base basefont bgsound br col embed frame hr img input keygen link meta param"
    b" source track wbr".split()
)
BREAKOUT = frozenset(
    b"b big blockquote body br center code dd div dl dt em embed h1 h2 h3 h4 h5 h6 head hr i img"
    b" li listing menu meta nobr ol p pre ruby s small span strong strike sub sup table tt u ul"
    b" var".split()
)
# Elements that an end tag of another name does not close past.
SPECIAL = frozenset(
    b"address applet area article aside base basefont bgsound blockquote body br button caption"
    b" center col colgroup dd details dir div dl dt embed fieldset figcaption figure footer form"
    b" frame frameset h1 h2 h3 h4 h5 h6 head header hgroup hr html iframe img input keygen li link"
    b" listing main marquee menu meta nav noembed noframes noscript object ol p param plaintext pre"
    b" script search section select source style summary table tbody td template textarea tfoot th"
    b" thead title tr track ul wbr xmp".split()
)
# An open <p> ends where one of these begins.
CLOSES_P = frozenset(
    b"address article aside blockquote center details dialog dir div dl fieldset figcaption figure"
    b" footer form h1 h2 h3 h4 h5 h6 header hgroup hr li dd dt listing main menu nav ol p plaintext"
    b" pre search section summary ul xmp".split()
)
CLOSED_BY_THE_NEXT = frozenset(b"li dd dt option optgroup tr td th tbody thead tfoot".split())
FORMATTING = frozenset(b"a b big code em font i nobr s small strike strong tt u".split())
# End tags that may close an element around an <svg>; </body> ends the page but closes nothing.
CLOSES_AROUND = (SPECIAL | BREAKOUT | FORMATTING) - RAW_TEXT - VOID - {b"body", b"html", b"head"}
SVG_INTEGRATION = frozenset((b"foreignobject", b"desc", b"title"))
MATH_TEXT = frozenset((b"mi", b"mo", b"mn", b"ms", b"mtext"))


def attributes_end(data: bytes, position: int) -> int:
    """Return where the attributes that are certainly whole end, from *position* on."""
    found = _ATTRS_SO_FAR.match(data, position)
    return found.end() if found else position


def _any_case(name: bytes) -> bytes:
    """Return a pattern for *name* in any case; faster than the IGNORECASE flag."""
    letters = (bytes([code]) for code in name)
    return b"".join(b"[" + x + x.upper() + b"]" if x.isalpha() else re.escape(x) for x in letters)


RAW_TEXT_END = {
    name: re.compile(rb"</" + _any_case(name) + rb"(?=[\t\n\f\r />])") for name in RAW_TEXT
}

# Nothing but text, so that every tag is looked at.
TEXT = re.compile(rb"[^<]*+")

_STOPS = RAW_TEXT | {b"svg", b"math", b"base"}
_SHAPES = frozenset(b"path g circle rect line polyline polygon ellipse use defs stop".split())
_LETTERS = frozenset(bytes([code]) for code in range(ord("a"), ord("z") + 1))
# What follows the name of a tag: nothing, attributes in plain double quotes, or any attributes.
_REST = rb"""(?:>|(?: [^\t\n\f\r />="']++="[^"]*+"|)*+(?:>|""" + ATTRS + rb">))"
_REST_OF_NAME = rb"[^\t\n\f\r />]*+"
_OTHER_MARKUP = (
    rb"!--(?:-?>|(?:[^-]++|-(?!-!?>)|)*+--!?>)"  # a comment
    rb"|(?:!(?!--)|\?|/(?![a-zA-Z]))[^>]*+>"  # a document type, and what counts as a comment
    rb"|(?=[^a-zA-Z/!?])"  # a sign that begins nothing
)
_ICON = (
    rb"[sS][vV][gG](?=[\t\n\f\r >])(?:[\t\n\f\r ]|/(?!>)|" + ATTR + rb"|)*+>"
    rb"(?:[^<]++|<(?:/?(?:"
    + b"|".join(sorted(_SHAPES))
    + rb")(?=[\t\n\f\r />])"
    + ATTRS
    + rb">|title>[^<]*+</title>)|)*+</[sS][vV][gG][\t\n\f\r ]*+>"
)


@lru_cache(maxsize=64)
def skip_pattern(names: frozenset[bytes]) -> re.Pattern[bytes]:
    """Return the pattern that eats text, comments and whole tags of no interest.

    It stops before anything unfinished, raw text, foreign content (but not icons), ``<base>``,
    ``</body>``, and tags called by one of *names* (lower case). Now and then it stops at others.
    """
    kinds = [*_start_tags(_STOPS | names), *_end_tags(names | {b"body"}), _OTHER_MARKUP]
    if names.isdisjoint(_SHAPES | {b"svg", b"title"}):
        kinds.append(_ICON)
    return re.compile(rb"(?:[^<]*+<(?:" + b"|".join(kinds) + rb")|)*+")


def _start_tags(stops: frozenset[bytes]) -> list[bytes]:
    """Return patterns for start tags not among *stops*, told apart by as few letters as will do."""
    firsts = {name[:1] for name in stops}
    singles = {name for name in stops if len(name) == 1}
    plain = _one_of(_LETTERS - firsts)
    plain_second = _one_of(_LETTERS - {name[1:2] for name in stops})
    endings = b"|".join(sorted(_any_case(name[1:]) for name in stops - singles))
    no_stop = rb"(?!(?:" + endings + rb")[\t\n\f\r />])" + _REST_OF_NAME + _REST
    kinds = [
        plain + _REST_OF_NAME + _REST,
        _one_of(firsts) + plain_second + _REST_OF_NAME + _REST,
        _one_of(firsts - singles) + rb"(?=[ >])" + _REST,
        _one_of(firsts - singles) + no_stop,
    ]
    if singles:
        kinds.append(_one_of(singles) + rb"(?![\t\n\f\r />])" + no_stop)
    return kinds


def _end_tags(stops: frozenset[bytes]) -> list[bytes]:
    plain = _one_of(_LETTERS - {name[:1] for name in stops})
    no_stop = rb"(?!(?:" + b"|".join(sorted(map(_any_case, stops))) + rb")[\t\n\f\r />])"
    return [b"/" + plain + _REST_OF_NAME + b">", b"/" + no_stop + NAME + ATTRS + b">"]


def _one_of(letters: Iterable[bytes]) -> bytes:
    """Return a pattern for one of some letters, in either case; at least one is given."""
    return b"[" + b"".join(letter + letter.upper() for letter in sorted(letters)) + b"]"


# --- character references ---------------------------------------------------------------------

_REFERENCE = re.compile(r"&(?:#(?:[xX]([0-9a-fA-F]+)|([0-9]+));?|([a-zA-Z][a-zA-Z0-9]*+)(;?)(=?))")


def decode_references(text: str) -> str:
    """Decode character references as in an attribute value.

    ``&copy=1`` and ``&copyright`` stay: in an attribute a name without its semicolon counts only
    when neither ``=`` nor a letter or digit follows.
    """
    signs = text.count("&")
    if signs == text.count("&amp;"):
        return text.replace("&amp;", "&") if signs else text
    return _REFERENCE.sub(_referred, text)


def _referred(match: re.Match[str]) -> str:
    hexadecimal, decimal, name, semicolon, equals = match.groups()
    if name is None:
        return _character(hexadecimal or decimal, 16 if hexadecimal else 10)
    if semicolon:
        return html5.get(name + ";", name and "&" + name + ";") + equals
    return match[0] if equals else html5.get(name, match[0])


def _character(digits: str, base: int) -> str:
    digits = digits.lstrip("0")
    code = int(digits, base) if 0 < len(digits) <= 7 else 0
    if code == 0 or code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        return "\ufffd"
    if 0x80 <= code <= 0x9F:
        return bytes([code]).decode("cp1252", "ignore") or chr(code)
    return chr(code)


# --- encodings --------------------------------------------------------------------------------

# Encodings in which the bytes of < > " ' = & / and white space are always these characters.
_SAFE_CHARSET = re.compile(
    r"utf-8(-sig)?|ascii|iso8859-\d+|cp(125\d|437|7[37]\d|8[567]\d|874|932|936|949|950|1125)"
    r"|shift_jis(x0213|_2004)?|euc_(jp|jis_2004|jisx0213|kr)|gb2312|gbk|gb18030|big5(hkscs)?"
    r"|koi8-[rtu]|mac-[a-z0-9]+|tis-620|hp-roman8|kz1048|ptcp154"
)
# What browsers read these labels as.
_READ_AS = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "gb2312": "gb18030",
    "gbk": "gb18030",
}


def _codec(charset: str) -> str:
    try:
        return codecs.lookup(charset).name
    except (LookupError, ValueError):
        return ""


def charset_is_safe(charset: str) -> bool:
    """Tell whether markup in *charset* can be read byte by byte.

    Not so for UTF-16, UTF-32, UTF-7, ISO-2022-*, HZ, and for names Python does not know.
    """
    return _SAFE_CHARSET.fullmatch(_codec(charset)) is not None


def reading_codec(charset: str) -> str:
    """Return the codec that reads text of *charset* as browsers do; UTF-8 when it is unknown."""
    codec = _codec(charset)
    return _READ_AS.get(codec, codec) or "utf-8"


# --- selectors --------------------------------------------------------------------------------

Attributes = Mapping[bytes, bytes]
_COMPOUND = re.compile(
    r"""(\*|[a-zA-Z][\w-]*|)((?:[#.][\w-]+|\[[\w-]+(?:=(?:"[^"\]]*"|'[^'\]]*'|[^\]"']*))?\])*)"""
)
_SIMPLE = re.compile(
    r"#(?P<id>[\w-]+)|\.(?P<class>[\w-]+)|\[(?P<name>[\w-]+)(?:=(?P<value>[^\]]*))?"
)


class Compound(NamedTuple):
    """A compound selector: tag, #id, .class, [attr], [attr=value], in any number."""

    tag: bytes | None
    ids: tuple[bytes, ...]
    classes: tuple[bytes, ...]
    attributes: tuple[tuple[bytes, bytes | None], ...]

    @property
    def word(self) -> bytes | None:
        """The longest text that a matching tag must hold, or None for a bare tag selector."""
        stated = (value or name for name, value in self.attributes)
        return max((*self.ids, *self.classes, *stated), key=len, default=None)

    def matches(self, tag: bytes, attributes: Attributes) -> bool:
        """Tell whether the element is selected; *tag* is lower case."""
        if self.tag is not None and self.tag != tag:
            return False
        if any(attributes.get(b"id") != word for word in self.ids):
            return False
        if self.classes and not set(self.classes).issubset(attributes.get(b"class", b"").split()):
            return False
        return all(
            name in attributes and value in (None, attributes[name])
            for name, value in self.attributes
        )


def compound(text: str, charset: str = "utf-8") -> Compound:
    """Read a compound selector; raise ValueError when it is anything else or empty."""
    found = _COMPOUND.fullmatch(text)
    if not text or found is None:
        raise ValueError(
            f"cannot read the selector {text!r}: write tag, #id, .class, [attr] or [attr=value],"
            " one after the other"
        )
    simple = list(_SIMPLE.finditer(found[2]))
    return Compound(
        tag=None if found[1] in ("", "*") else found[1].lower().encode(),
        ids=_words(simple, "id", charset),
        classes=_words(simple, "class", charset),
        attributes=tuple(
            (part["name"].lower().encode(), _bytes(part["value"], charset))
            for part in simple
            if part["name"]
        ),
    )


def _words(simple: list[re.Match[str]], group: str, charset: str) -> tuple[bytes, ...]:
    return tuple(part[group].encode(charset, "replace") for part in simple if part[group])


def _bytes(value: str | None, charset: str) -> bytes | None:
    return None if value is None else value.strip("\"'").encode(charset, "replace")


# --- foreign content --------------------------------------------------------------------------

DEEPEST = 128


class _Node(NamedTuple):
    name: bytes
    space: str  # "html", "svg" or "math"
    html_inside: bool  # an integration point: tags inside it are HTML


class TooDeep(Exception):
    """More elements are open inside one <svg> or <math> than we follow."""


class Foreign:
    """The elements open inside an ``<svg>`` or ``<math>``, that one included; false when outside.

    HTML inside an integration point (``<foreignObject>``) is followed too: it decides whether an
    end tag may close what is around it.
    """

    def __init__(self) -> None:
        self._nodes: list[_Node] = []

    def __bool__(self) -> bool:
        return bool(self._nodes)

    @property
    def in_html(self) -> bool:
        """Tell whether the innermost open element is an HTML element."""
        return not self._nodes or self._nodes[-1].space == "html"

    def start(self, name: bytes, attributes: Attributes, self_closing: bool) -> bool:
        """Take a start tag; return True when it begins an HTML element."""
        if not self._begins_html(name, attributes):
            space = name.decode() if name in (b"svg", b"math") and self._reads_html(name) else ""
            node = self._foreign_node(name, space or self._nodes[-1].space, attributes)
            if not self_closing:
                self._push(node)
            return False
        if self._nodes and name not in VOID:
            self._push_html(name)
        return True

    def end(self, name: bytes) -> None:
        """Take an end tag."""
        if name in (b"br", b"p") and not self.in_html:
            self._break_out()
            return
        for index in range(len(self._nodes) - 1, -1, -1):
            node = self._nodes[index]
            if node.space == "html":
                self._end_html(name, index)
                return
            if node.name == name:
                del self._nodes[index:]
                return
        # Which elements are open around us is not known: such an end tag likely closes one.
        if name in CLOSES_AROUND:
            self._nodes.clear()

    def _reads_html(self, name: bytes) -> bool:
        """Tell whether a start tag is read by the rules for HTML here."""
        if self.in_html:
            return True
        node = self._nodes[-1]
        if node.name in MATH_TEXT and node.space == "math":
            return name not in (b"mglyph", b"malignmark")
        return node.html_inside or (node.name == b"annotation-xml" and name == b"svg")

    def _begins_html(self, name: bytes, attributes: Attributes) -> bool:
        if self._reads_html(name):
            return name not in (b"svg", b"math")
        font = name == b"font" and not attributes.keys().isdisjoint((b"color", b"face", b"size"))
        if name not in BREAKOUT and not font:
            return False
        self._break_out()
        return True

    def _break_out(self) -> None:
        while self._nodes:
            node = self._nodes[-1]
            text = node.space == "math" and node.name in MATH_TEXT
            if node.space == "html" or node.html_inside or text:
                return
            self._nodes.pop()

    def _push(self, node: _Node) -> None:
        if len(self._nodes) >= DEEPEST:
            raise TooDeep
        self._nodes.append(node)

    def _push_html(self, name: bytes) -> None:
        top = self._nodes[-1]
        if top.space == "html" and top.name == b"p" and name in CLOSES_P:
            self._nodes.pop()
        elif top.space == "html" and top.name == name and name in CLOSED_BY_THE_NEXT:
            return
        self._push(_Node(name, "html", False))

    def _end_html(self, name: bytes, last: int) -> None:
        """Close the HTML element *name* as far as HTML is open without a break, from *last* down."""
        for index in range(last, -1, -1):
            node = self._nodes[index]
            if node.space == "html" and node.name == name:
                if name in FORMATTING:
                    del self._nodes[index]
                else:
                    del self._nodes[index:]
                return
            barrier = node.html_inside or (node.space == "math" and node.name in MATH_TEXT)
            if barrier or (node.name in SPECIAL and name not in SPECIAL | FORMATTING):
                return

    @staticmethod
    def _foreign_node(name: bytes, space: str, attributes: Attributes) -> _Node:
        if space == "svg":
            return _Node(name, space, name in SVG_INTEGRATION)
        encoding = attributes.get(b"encoding", b"").lower()
        html = name == b"annotation-xml" and encoding in (b"text/html", b"application/xhtml+xml")
        return _Node(name, space, html)
