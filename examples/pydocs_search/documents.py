"""The documents of the demo: what the standard library says about itself, read by inspection."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any, NamedTuple

MAX_TEXT = 40_000
SHORTEST_TEXT = 12


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Modules that open a window or a browser, touch the terminal, print, patch the interpreter, need a
# display, or are on their way out: nobody searches for these.
SKIPPED = _names(
    """
    aifc antigravity asynchat asyncore audioop cgi cgitb chunk crypt distutils ensurepip genericpath
    idlelib imghdr imp lib2to3 mailcap msilib nis nntplib nt ntpath nturl2path ossaudiodev pipes posix
    posixpath pydoc_data pyexpat readline rlcompleter smtpd sndhdr spwd sre_compile sre_constants
    sre_parse sunau telnetlib test this tkinter turtle turtledemo uu xdrlib
    """
)

# The documented modules inside packages. Listed by hand: walking the packages would also find test
# suites, __main__ files and other modules that do something when imported.
INNER = _names(
    """
    collections.abc compression.zstd concurrent.futures concurrent.interpreters ctypes.util
    curses.ascii curses.panel curses.textpad dbm.dumb dbm.gnu dbm.ndbm dbm.sqlite3
    email.charset email.contentmanager email.encoders email.errors email.generator email.header
    email.headerregistry email.iterators email.message email.mime.application email.mime.audio
    email.mime.base email.mime.image email.mime.message email.mime.multipart email.mime.text
    email.parser email.policy email.utils encodings.idna encodings.utf_8_sig html.entities html.parser
    http.client http.cookiejar http.cookies http.server importlib.abc importlib.machinery
    importlib.metadata importlib.resources importlib.resources.abc importlib.util json.decoder
    json.encoder logging.config logging.handlers multiprocessing.connection multiprocessing.dummy
    multiprocessing.managers multiprocessing.pool multiprocessing.shared_memory
    multiprocessing.sharedctypes os.path string.templatelib sys.monitoring unittest.mock urllib.error
    urllib.parse urllib.request urllib.response urllib.robotparser wsgiref.handlers wsgiref.headers
    wsgiref.simple_server wsgiref.types wsgiref.util wsgiref.validate xml.dom xml.dom.minidom
    xml.dom.pulldom xml.etree.ElementTree xml.parsers.expat xml.sax xml.sax.handler xml.sax.saxutils
    xml.sax.xmlreader xmlrpc.client xmlrpc.server zipfile zoneinfo
    """
)

Progress = Callable[[int, int], object]


class Document(NamedTuple):
    """One page of the demo site."""

    name: str  # unique, also its address: "json.dumps"
    kind: str  # "module", "class", "function", "method", "attribute" or "topic"
    title: str  # as shown: "json.dumps", "str.split", "The with statement"
    signature: str  # "(obj, *, indent=None)", "" when it has none
    summary: str  # the first sentence or line
    text: str
    parent: str  # the name of the page above it, "" for modules and topics


def collect(progress: Progress | None = None) -> Iterator[Document]:
    """Yield every document, each name once; *progress* gets modules done and modules in all."""
    names = module_names()
    seen: set[int] = set()
    taken: set[str] = set()
    for number, name in enumerate(names, 1):
        yield from _new(_module_documents(name, seen), taken)
        if progress is not None:
            progress(number, len(names))
    yield from _new(_topics(), taken)


def module_names() -> list[str]:
    """Return the modules to read; builtins first, because other modules repeat its names."""
    public = {name for name in sys.stdlib_module_names if not name.startswith("_")}
    found = {*public, *INNER, "__future__"} - SKIPPED - {"builtins"}
    return ["builtins", *sorted(found)]


def quiet_import(name: str) -> Any:
    """Return the module, or None when this Python or system does not have it; never print."""
    nowhere = io.StringIO()
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(name)
        except (Exception, SystemExit):
            return None


def _new(documents: Iterable[Document], taken: set[str]) -> Iterator[Document]:
    for document in documents:
        if document.name not in taken:
            taken.add(document.name)
            yield document


def _module_documents(name: str, seen: set[int]) -> Iterator[Document]:
    module = quiet_import(name)
    if not isinstance(module, ModuleType):
        return
    text = _clean(getattr(module, "__doc__", None))
    yield Document(name, "module", name, "", summary(text), text, "")
    for member, value in _members(module, name):
        if id(value) in seen:
            continue
        seen.add(id(value))
        yield from _member_documents(name, member, value)


def _members(module: ModuleType, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the public functions and classes of a module, in the order of their names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        listed = getattr(module, "__all__", None)
        for member in sorted({str(entry) for entry in listed or dir(module)}):
            value = None if member.startswith("_") else _attribute(module, member)
            at_home = listed is not None or getattr(value, "__module__", None) == name
            if at_home and (inspect.isclass(value) or inspect.isroutine(value)):
                yield member, value


def _attribute(owner: object, name: str) -> Any:
    try:
        return getattr(owner, name)
    except Exception:
        return None


def _member_documents(module: str, member: str, value: Any) -> Iterator[Document]:
    name = f"{module}.{member}"
    title = member if module == "builtins" else name
    kind = "class" if inspect.isclass(value) else "function"
    text = _class_doc(value) if kind == "class" else _doc(value)
    document = _describe(name, kind, title, value, text, parent=module)
    if document is not None:
        yield document
    if kind == "class":
        yield from _methods(value, name, title, parent=name if document else module)


def _methods(owner: type, name: str, title: str, parent: str) -> Iterator[Document]:
    for member, raw in sorted(vars(owner).items()):
        value = None if member.startswith("_") else _attribute(owner, member)
        routine = inspect.isroutine(value)
        if not routine and not inspect.isdatadescriptor(raw):
            continue
        kind = "method" if routine else "attribute"
        text = _doc(value if routine else raw)
        subject = value if routine else None
        document = _describe(
            f"{name}.{member}", kind, f"{title}.{member}", subject, text, parent=parent
        )
        if document is not None:
            yield document


def _describe(
    name: str, kind: str, title: str, subject: Any, raw_text: object, *, parent: str
) -> Document | None:
    """Return the document, or None when nothing worth a page is written about it."""
    text = _clean(raw_text)
    if len(text) < SHORTEST_TEXT:
        return None
    signature = _signature(subject) if subject is not None else ""
    first, _, rest = text.partition("\n")
    # Functions written in C often give their signature as the first line of their text.
    if not signature and re.match(rf"(\w+\.)*{re.escape(title.rpartition('.')[2])}\(", first):
        signature, text = first[first.index("(") :], rest.strip() or text
    return Document(name, kind, title, signature, summary(text), text, parent)


def _doc(value: Any) -> str | None:
    try:
        return inspect.getdoc(value)
    except Exception:
        return None


def _class_doc(owner: type) -> str | None:
    """Return a class's own words or those of its ``__init__``, never those of its base."""
    own = vars(owner)
    text = own.get("__doc__") or getattr(own.get("__init__"), "__doc__", None)
    return text if isinstance(text, str) else None


def _signature(value: Any) -> str:
    try:
        # An address in a default value would differ from run to run.
        return re.sub(r" at 0x[0-9a-fA-F]+", "", str(inspect.signature(value)))
    except Exception:
        return ""


def _clean(text: object) -> str:
    if not isinstance(text, str):
        return ""
    printable = re.sub(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]", "", text.replace("\t", "    "))
    # Marks of the documentation system: :mod:`json` and ``fp`` read better as json and fp.
    plain = re.sub(r"(?::\w+)?:\w+:`~?([^`\n]+)`|``([^`\n]+)``", r"\1\2", printable)
    return inspect.cleandoc(plain)[:MAX_TEXT].strip()


def summary(text: str) -> str:
    """Return the first sentence of the first paragraph, at most 200 characters."""
    paragraph = " ".join(text.partition("\n\n")[0].split())
    sentence = re.split(r"(?<=[.!?])\s+(?=[A-Z])", paragraph, maxsplit=1)[0]
    return sentence if len(sentence) <= 200 else sentence[:199].rpartition(" ")[0] + "…"


def _topics() -> Iterator[Document]:
    """Yield the chapters of the language reference that ``help()`` shows, where installed."""
    module = quiet_import("pydoc_data.topics")
    topics: Mapping[str, str] = getattr(module, "topics", {})
    for key, raw in sorted(topics.items()):
        heading, _, body = _clean(raw).partition("\n")
        text = re.sub(r"^[*=\-~^]{3,}\s*", "", body).strip()
        if len(text) >= SHORTEST_TEXT:
            title = heading.replace('"', "").replace("`", "").strip("* ")
            yield Document(f"topics.{key}", "topic", title, "", summary(text), text, "")


def stamp() -> str:
    """Return what tells this interpreter's documents from another's, usable in a file name."""
    version = ".".join(map(str, sys.version_info[:3]))
    return f"{sys.implementation.name}-{version}-{os.name}"
