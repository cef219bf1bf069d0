"""Every setting: its default, what it may be, and where its value came from."""

from __future__ import annotations

import json
import logging
import os
import pkgutil
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from clickmw.errors import SettingsError
from clickmw.html_grammar import compound
from clickmw.module_codes import is_module_code
from clickmw.sites import Advertiser, Key, Network, Publisher, Rule, Site, Sites
from clickmw.targets import ascii_host

SECRET_LENGTH = 32  #: characters of a secret, at least
SECRETS_LIMIT = 5  #: the secret and its predecessors
TRUSTS = frozenset({"signed", "session", "keyed", "anonymous"})

_logger = logging.getLogger("clickmw")
_ENVIRONMENT = "CLICKMW_"
_ORIGIN = re.compile(
    r"https?://[a-z0-9._\-]+(?::[0-9]{1,5})?|https?://\[[0-9a-f:]+\](?::[0-9]{1,5})?"
)
_PREFIX = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~\-]+)+")
_HANDLE = re.compile(r"[A-Za-z0-9._\-]{1,64}")
_PASSWORD = re.compile(r"(://)[^/?#]*@")
_UNSET_JOURNAL = Path()

Read = Callable[[Any], Any]
#: Setting name → value and where it stands ("keyword", "file clickmw.toml" …).
_Given = dict[str, tuple[Any, str]]


class _Wrong(Exception):
    """What is wrong with a value, what to write instead, and where inside the value it stands."""

    def __init__(self, why: str, instead: str, value: object = MISSING) -> None:
        super().__init__(why)
        self.why, self.instead, self.value, self.where = why, instead, value, ""


# --- readers: each returns the value in the form that settings keep, or raises _Wrong ----------


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _Wrong("it must be text", "some text in quotes", value)
    return value


def _secret(value: Any) -> str:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value.decode("latin-1")
    if not isinstance(value, str) or not value:
        raise _Wrong("it must be text", "text of at least 32 characters")
    return value


def _private_text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise _Wrong("it must be text", "some text in quotes")
    return value


def _flag(value: Any) -> bool:
    found = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}.get(
        str(value).strip().lower()
    )
    if found is None or not isinstance(value, bool | int | str):
        raise _Wrong("it must be yes or no", "True or False (1, 0, true, false, yes, no)", value)
    return found


def _number(low: int, high: int) -> Read:
    def read(value: Any) -> int:
        instead = f"a whole number from {low} to {high}"
        if isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]{1,18}\s*", value):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise _Wrong("it must be a whole number", instead, value)
        if not low <= value <= high:
            raise _Wrong(f"it must lie from {low} to {high}", instead, value)
        return value

    return read


def _choice(*names: str) -> Read:
    def read(value: Any) -> str:
        if value not in names:
            hint = _did_you_mean(str(value), names)
            raise _Wrong(f"it must be one of {_listed(names)}{hint}", _listed(names), value)
        return str(value)

    return read


def _path(value: Any) -> Path:
    if isinstance(value, os.PathLike) or (isinstance(value, str) and value.strip()):
        return Path(value)
    raise _Wrong("it must be a path", "a path in quotes", value)


def _callable(value: Any) -> Any:
    if not callable(value):
        raise _Wrong(
            "it must be a function, and so can stand in code only", "a function of environ"
        )
    return value


def _visitor(value: Any) -> Any:
    return value if callable(value) else _choice("daily", "none")(value)


def _hooks(value: Any) -> tuple[Callable[[str], str], ...]:
    hooks = (value,) if callable(value) else value
    if not isinstance(hooks, tuple | list) or not all(callable(hook) for hook in hooks):
        raise _Wrong(
            "it must be functions, and so can stand in code only",
            "a list of functions that are given a query and return it masked",
        )
    return tuple(hooks)


def _sequence(value: Any) -> list[Any]:
    if isinstance(value, Sites):
        return list(value.all)
    if not isinstance(value, list | tuple | set | frozenset):
        raise _Wrong("it must be a list", "a list, even of one")  # it may be a key
    return sorted(value, key=str) if isinstance(value, set | frozenset) else list(value)


def _many(read: Read) -> Read:
    def read_all(value: Any) -> tuple[Any, ...]:
        return tuple(_inside(f"[{at}]", read, one) for at, one in enumerate(_sequence(value)))

    return read_all


def _some(read: Read) -> Read:
    def read_all(value: Any) -> frozenset[Any]:
        return frozenset(_many(read)(value))

    return read_all


def _host(value: Any) -> str:
    text = _text(value)
    host = ascii_host(text)
    if not host or not re.fullmatch(r"[^/@?#]+", text.strip()):
        raise _Wrong("it is not a host name", "the name alone, like 'www.example.org'", value)
    return host


def _origin(value: Any) -> str:
    text = _text(value).lower()
    if not _ORIGIN.fullmatch(text):
        instead = "scheme and host without a path, like 'https://www.example.org'"
        raise _Wrong("it is not an origin", instead, value)
    return text


def _prefix(value: Any) -> str:
    text = _text(value)
    if _PREFIX.fullmatch(text):
        return text
    better = "/" + text.strip("/")
    instead = repr(better if _PREFIX.fullmatch(better) else "/_clicks")
    raise _Wrong("it must be a path that begins with / and does not end with one", instead, value)


def _store(value: Any) -> str:
    text = _text(value)
    kinds = store_kinds()
    kind = text.partition(":")[0].partition("+")[0]
    if kind not in kinds or "://" not in text:
        hint = _did_you_mean(kind, kinds)
        why = f"no store is called {kind!r}{hint}; there is {_listed(kinds)}"
        raise _Wrong(why, "'sqlite:///clicks.db'", value)
    if kind == "sqlite" and not re.fullmatch(r"sqlite:///.*[^/]", text):
        raise _Wrong("it names no file", "'sqlite:///clicks.db' (four slashes: absolute)", value)
    return text


def store_kinds() -> list[str]:
    """Return the kinds of store there are: the modules of the folder ``stores``."""
    names = (
        module.name for module in pkgutil.iter_modules([str(Path(__file__).parent / "stores")])
    )
    return sorted(name for name in names if name != "base" and not name.startswith("_"))


def _zone(value: Any) -> str:
    from zoneinfo import ZoneInfo, available_timezones

    name = _text(value)
    if name == "UTC":
        return name
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        why = "no time zone has this name here" + _did_you_mean(name, list(available_timezones()))
        instead = "a name like 'Europe/Berlin' (where there are none, install tzdata)"
        raise _Wrong(why, instead, value) from None
    return name


def _handle(value: Any) -> str:
    text = _text(value)
    if not _HANDLE.fullmatch(text):
        instead = "1 to 64 letters, digits, dots, dashes or underscores"
        raise _Wrong("it is not a site handle", instead, value)
    return text


def _module(value: Any) -> str:
    if not isinstance(value, str) or not is_module_code(value):
        instead = "1 to 32 letters, digits, dashes or underscores, like 'BWEB'"
        raise _Wrong("it is not a module code", instead, value)
    return value


def _selector(value: Any) -> str:
    text = _text(value).strip()
    if _is_selector(text):
        return text
    instead = "tag, #id, .class, [attribute] or [attribute=value], like 'ol.results'"
    raise _Wrong("it is not a simple CSS selector", instead, value)


def _link_selector(value: Any) -> str:
    """Return a selector that may have one step: ``h3 a`` is a link inside a heading."""
    text = " ".join(_text(value).split())
    parts = text.split()
    if len(parts) == 2 and all(map(_is_selector, parts)):
        return text
    return _selector(text)


def _is_selector(text: str) -> bool:
    try:
        found = compound(text)
    except ValueError:
        return False
    # A bare * would make every element a container, or every link a result.
    return bool(found.tag or found.ids or found.classes or found.attributes)


def _page_path(value: Any) -> str:
    text = _text(value)
    if not text.startswith("/") or "?" in text or "#" in text:
        raise _Wrong("it is not the path of a page", "a path like '/search'", value)
    return text


def _modules(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise _Wrong("it must be a table of codes and names", "{'XYZ': 'My block'}", value)
    return {_module(code): _text(name) for code, name in value.items()}


def _table(cls: type[Any], **reads: Read) -> Read:
    """Return a reader of *cls* from a table (TOML, JSON, dict) or from an instance of it."""
    known = fields(cls)
    required = [
        one.name for one in known if one.default is MISSING and one.default_factory is MISSING
    ]

    def read(value: Any) -> Any:
        if isinstance(value, cls):
            value = {one.name: getattr(value, one.name) for one in known}
        if not isinstance(value, Mapping):
            raise _Wrong(f"it must be a {cls.__name__} or a table", f"{{{required[0]!r}: …}}")
        for name in value:
            if name not in reads:
                hint = _did_you_mean(str(name), reads)
                why = f"{cls.__name__} has no {str(name)[:60]!r}{hint}"
                raise _Wrong(why, f"any of {_listed(reads)}")
        given = {name: one for name, one in value.items() if one is not None}
        for name in required:
            if name not in given:
                raise _Wrong(f"its {name} is missing", f"{name} = …")
        return cls(**{name: _inside(f".{name}", reads[name], one) for name, one in given.items()})

    return read


def _inside(step: str, read: Read, value: Any) -> Any:
    try:
        return read(value)
    except _Wrong as wrong:
        wrong.where = step + wrong.where
        raise


_FREE_TEXT: Read = lambda value: value if value == "" else _text(value)  # noqa: E731
_ID = _number(0, 2**63 - 1)
_KEY = _table(Key, key=_private_text, scope=_choice("read", "ingest", "admin"))
_ADVERTISER = _table(
    Advertiser,
    id=_ID,
    name=_text,
    slug=_text,
    network=_table(Network, id=_ID, name=_text),
    hosts=_many(_host),
    ad_ids=_many(_text),
)
_SITE = _table(
    Site,
    handle=_handle,
    name=_FREE_TEXT,
    hosts=_many(_host),
    time_zone=_zone,
    access_key=_private_text,
    index_key=_private_text,
    tracking_key=_private_text,
    publisher=_table(Publisher, id=_ID, name=_text),
    api_keys=_many(_KEY),
    modules=_modules,
    advertisers=_many(_ADVERTISER),
)
_RULE = _table(
    Rule,
    path=_page_path,
    container=_selector,
    link=_link_selector,
    module=_module,
    item=_selector,
    query_param=_text,
    site=_handle,
)


def _sites(value: Any) -> Sites:
    sites: tuple[Site, ...] = _many(_SITE)(value)
    for site in sites:
        if site.handle in (other.handle for other in sites if other is not site):
            raise _Wrong(f"two sites are called {site.handle!r}", "a handle of its own for each")
    without = [site.handle for site in sites if not site.hosts]
    if len(without) > 1:
        why = f"{_listed(without)} have no hosts, and only one site may be the default"
        raise _Wrong(why, 'hosts = ["www.example.org"] in all sites but one')
    for name in ("index_key", "tracking_key"):
        keys = [(site.handle, getattr(site, name)) for site in sites if getattr(site, name)]
        if pair := _sharing(keys):
            why = f"the {name} of {_listed(pair)} is the same, and it alone says whose an event is"
            raise _Wrong(why, f"a {name} of its own for each")
    return Sites(sites)


def _sharing(keys: list[tuple[str, str]]) -> list[str]:
    """Return the names of the first two of *keys*, (name, key), that have the same key; else none."""
    owners: dict[str, str] = {}
    for name, key in keys:
        if key in owners:
            return [owners[key], name]
        owners[key] = name
    return []


@dataclass(frozen=True, kw_only=True, repr=False)
class Settings:
    """The settings of one install, checked; :meth:`load` gathers them from all places."""

    secret: str
    old_secrets: tuple[str, ...] = ()
    store: str = "sqlite:///clicks.db"
    journal: Path = field(default=_UNSET_JOURNAL)
    journal_max_bytes: int = 1_000_000_000
    prefix: str = "/_clicks"
    sites: Sites = field(default_factory=Sites)
    rules: tuple[Rule, ...] = ()
    query_param: str = "q"
    native_paths: bool = False
    keys: tuple[Key, ...] = ()
    report_auth: Callable[[dict[str, Any]], object] | None = None
    admin_password: str | None = None
    allowed_origins: frozenset[str] = frozenset()
    target_hosts: frozenset[str] | None = None
    trusted_proxies: int = 0
    time_zone: str = "UTC"
    dedupe_window_s: int = 1_800
    ad_dedupe_window_s: int = 3_600
    keep_days: int = 395
    min_visitors: int = 0
    durability: str = "process"
    visitor: str | Callable[[dict[str, Any]], str] = "daily"
    optout: str = "drop"
    scrub: tuple[Callable[[str], str], ...] = ()
    redirect_rate: int | None = 20
    count_trust: frozenset[str] = TRUSTS
    inject_snippet: bool = True
    debug: bool = False
    config: Path | None = None
    #: Setting → where its value came from.
    sources: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if self.journal is _UNSET_JOURNAL:
            object.__setattr__(self, "journal", _journal_beside(self.database))
        if not self.redirect_rate:
            object.__setattr__(self, "redirect_rate", None)

    @property
    def database(self) -> Path | None:
        """The database file of an SQLite store, None for other stores."""
        return _database(self.store)

    @classmethod
    def load(
        cls,
        keywords: Mapping[str, Any] = {},
        *,
        framework: Mapping[str, Any] | None = None,
        framework_name: str = "",
        derived: Mapping[str, Any] | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> Settings:
        """Return the settings of all places; the first place that has a value wins.

        They are keywords, the framework's configuration, the environment, the TOML file named by
        ``config``, and what is derived from the framework. None and "" in the environment mean
        not set; ``redirect_rate=None`` means off. Raises :class:`SettingsError`.
        """
        given = _from_derived(derived or {}, framework_name)
        strong = (
            _from_environment(environ)
            | _from_framework(framework or {}, framework_name)
            | _from_keywords(keywords)
        )
        if "config" in strong:
            given |= _from_file(*strong["config"])
        given |= strong
        values = {name: _read(name, *found) for name, found in given.items()}
        _check_secrets(values, given)
        _check_rules(values, given)
        _check_keys(values)
        sources = {name: given[name][1] if name in given else "default" for name in _NAMES}
        return cls(**values, sources=sources)

    def __repr__(self) -> str:
        shown = (f"{name}={_shown(name, getattr(self, name))}" for name in _NAMES)
        return f"Settings({', '.join(shown)})"


_READS: dict[str, Read] = {
    "secret": _secret,
    "old_secrets": _many(_secret),
    "store": _store,
    "journal": _path,
    "journal_max_bytes": _number(1_000_000, 2**62),
    "prefix": _prefix,
    "sites": _sites,
    "rules": _many(_RULE),
    "query_param": _text,
    "native_paths": _flag,
    "keys": _many(_KEY),
    "report_auth": _callable,
    "admin_password": _private_text,
    "allowed_origins": _some(_origin),
    "target_hosts": _some(_host),
    "trusted_proxies": _number(0, 20),
    "time_zone": _zone,
    "dedupe_window_s": _number(0, 172_800),
    "ad_dedupe_window_s": _number(0, 172_800),
    "keep_days": _number(1, 36_500),
    "min_visitors": _number(0, 1_000_000),
    "durability": _choice("process", "power"),
    "visitor": _visitor,
    "optout": _choice("drop", "anonymous", "ignore"),
    "scrub": _hooks,
    "redirect_rate": _number(0, 1_000_000),
    "count_trust": _some(_choice(*sorted(TRUSTS))),
    "inject_snippet": _flag,
    "debug": _flag,
    "config": _path,
}
_NAMES = tuple(_READS)
_PRIVATE = frozenset({"secret", "old_secrets", "keys", "admin_password"})
#: Written as JSON in the environment.
_STRUCTURED = frozenset(
    {"old_secrets", "sites", "rules", "keys", "allowed_origins", "target_hosts", "count_trust"}
)


# --- places --------------------------------------------------------------------------------------


def _from_keywords(keywords: Mapping[str, Any]) -> _Given:
    for name in keywords:
        if name not in _READS:
            raise SettingsError(f"clickmw: unknown setting {name!r}{_did_you_mean(name, _NAMES)}.")
    return {name: (value, "keyword") for name, value in keywords.items() if _is_set(name, value)}


def _from_framework(framework: Mapping[str, Any], framework_name: str) -> _Given:
    given: _Given = {}
    for written, value in framework.items():
        name = written.lower().removeprefix(_ENVIRONMENT.lower())
        source = _framework_source(name, framework_name)
        if name not in _READS:
            hint = _did_you_mean(name, _NAMES, str.upper)
            raise SettingsError(f"clickmw: unknown setting {source}{hint}.")
        if _is_set(name, value):
            given[name] = (value, source)
    return given


def _framework_source(name: str, framework_name: str) -> str:
    if framework_name.lower() == "django":
        return f'{framework_name} CLICKMW["{name.upper()}"]'
    return f"{framework_name or 'framework'} CLICKMW_{name.upper()}"


def _from_environment(environ: Mapping[str, str]) -> _Given:
    given: _Given = {}
    for written, text in environ.items():
        if not written.startswith(_ENVIRONMENT):
            continue
        name = written.removeprefix(_ENVIRONMENT).lower()
        if name not in _READS or written != written.upper():
            hint = _did_you_mean(name, _NAMES, lambda found: _ENVIRONMENT + found.upper())
            _logger.warning("unknown environment name %s is ignored%s", written, hint)
        elif text.strip():
            source = f"environment {written}"
            given[name] = (_from_json(name, text, source), source)
    return given


def _from_json(name: str, text: str, source: str) -> Any:
    if name not in _STRUCTURED:
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise SettingsError(
            f"clickmw: {name} ({source}) cannot be used: in the environment it must be JSON, and "
            f"{where} is not. Write JSON, for example {source.split()[-1]}='[\"…\"]'."
        ) from None


def _from_file(config: Any, source: str) -> _Given:
    import tomllib

    path = _read("config", config, source)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(
            f"clickmw: the settings file {path} ({source}) cannot be read: {error.strerror}. "
            "Write the path of a TOML file that this process may read."
        ) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise SettingsError(
            f"clickmw: the settings file {path} is not UTF-8 text (line {line}). Save it as UTF-8."
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(
            f"clickmw: the settings file {path} is not valid TOML: {error}. Mend that line."
        ) from None
    return _from_table(table, path)


def _from_table(table: Mapping[str, Any], path: Path) -> _Given:
    known = [name for name in _NAMES if name != "config"]
    for name in table:
        if name not in known:
            hint = _did_you_mean(name, known)
            raise SettingsError(f"clickmw: unknown setting {name!r} in the file {path}{hint}.")
    return {name: (value, f"file {path}") for name, value in table.items()}


def _from_derived(derived: Mapping[str, Any], framework_name: str) -> _Given:
    given: _Given = {}
    for name, value in derived.items():
        what = {"secret": " SECRET_KEY", "old_secrets": " SECRET_KEY_FALLBACKS"}.get(name, "")
        if value is not None and not (name == "secret" and not value):
            given[name] = (value, f"{framework_name or 'framework'}{what} (derived)")
    return given


def _is_set(name: str, value: Any) -> bool:
    """Tell whether *value* says anything: None is "not set", but it turns the rate limit off."""
    return value is not None or name == "redirect_rate"


# --- checks --------------------------------------------------------------------------------------


def _read(name: str, value: Any, source: str) -> Any:
    if name == "redirect_rate" and value is None:
        return None
    try:
        return _READS[name](value)
    except _Wrong as wrong:
        # The whole value may hold keys; a part is shown only where the reader knows it does not.
        shown = "" if wrong.value is MISSING else "=" + _shown(name, wrong.value)
        raise SettingsError(
            f"clickmw: {name}{wrong.where}{shown} ({source}) cannot be used: {wrong.why}. "
            f"Write {wrong.instead}."
        ) from None


def _check_secrets(values: dict[str, Any], given: _Given) -> None:
    make = "python -c 'import secrets; print(secrets.token_urlsafe(32))'"
    if "secret" not in values:
        raise SettingsError(
            "clickmw: secret is missing. Links must be signed with it. Set CLICKMW_SECRET (or the "
            f"keyword secret, or your framework's SECRET_KEY) to the text that this prints: {make}"
        )
    secrets = [("secret", values["secret"])]
    secrets += [("old_secrets", secret) for secret in values.get("old_secrets", ())]
    for name, secret in secrets:
        if len(secret) < SECRET_LENGTH:
            _refuse_short(name, len(secret), given[name][1], make)
    if len({secret for _, secret in secrets}) < len(secrets):
        raise SettingsError(
            f"clickmw: old_secrets ({given['old_secrets'][1]}) cannot be used: one secret stands "
            "twice in secret and old_secrets. Write each once."
        )
    if len(secrets) > SECRETS_LIMIT:
        raise SettingsError(
            f"clickmw: old_secrets ({given['old_secrets'][1]}) cannot be used: with the secret "
            f"these are {len(secrets)} keys, and each forged link is tried against all. Write "
            f"at most {SECRETS_LIMIT - 1} old secrets."
        )


def _refuse_short(name: str, length: int, source: str, make: str) -> None:
    message = (
        f"{name} ({source}) has {length} characters, and whoever guesses it can sign links. "
        f"Write at least {SECRET_LENGTH}: {make}"
    )
    if not source.endswith("(derived)"):
        raise SettingsError(f"clickmw: {message}")
    _logger.warning("%s", message)


def _check_rules(values: dict[str, Any], given: _Given) -> None:
    sites: Sites = values.get("sites", Sites())
    for at, rule in enumerate(values.get("rules", ())):
        if rule.site is not None and sites.by_handle(rule.site) is None:
            handles = [site.handle for site in sites.all]
            raise SettingsError(
                f"clickmw: rules[{at}].site={rule.site!r} ({given['rules'][1]}) cannot be used: no "
                f"site has this handle{_did_you_mean(rule.site, handles)}. "
                f"Write one of {_listed(handles)}."
            )


def _check_keys(values: dict[str, Any]) -> None:
    sites: Sites = values.get("sites", Sites())
    keys = [("keys", one.key) for one in values.get("keys", ())]
    keys += [
        (f"the api_keys of {site.handle!r}", one.key) for site in sites.all for one in site.api_keys
    ]
    if pair := _sharing(keys):
        where = " and in ".join(dict.fromkeys(pair))
        raise SettingsError(
            f"clickmw: one key stands twice in {where}, and what it opens would be "
            "left to chance. Write a key of its own for each."
        )


# --- words ---------------------------------------------------------------------------------------


def _did_you_mean(
    name: str,
    known: Mapping[str, Any] | list[str] | tuple[str, ...],
    write: Callable[[str], str] = str,
) -> str:
    lowered = {one.lower(): one for one in known}
    found = [lowered[one] for one in get_close_matches(name.lower(), lowered, n=1)]
    return f" (did you mean {write(found[0])!r}?)" if found else ""


def _listed(names: Mapping[str, Any] | list[str] | tuple[str, ...]) -> str:
    return ", ".join(repr(name) for name in names)


def _shown(name: str, value: object) -> str:
    """Return *value* as it may be shown to anybody."""
    if name in _PRIVATE:
        return "…" if value else repr(value)
    text = _PASSWORD.sub(r"\1…@", repr(value))
    return text if len(text) <= 120 else text[:119] + "…"


def _database(store: str) -> Path | None:
    return Path(store.removeprefix("sqlite:///")) if store.startswith("sqlite:///") else None


def _journal_beside(database: Path | None) -> Path:
    # Never "-journal": that name belongs to SQLite.
    if database is None:
        return Path("clickmw.journal")
    return database.with_name(f"{database.name}.journal")
