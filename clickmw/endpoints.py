"""What programs may know of our own pages: their operations, as OpenAPI 3.0 describes them.

Those of the foreign click APIs are with their protocols in ``compat``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from clickmw.openapi import ERROR, KEYED, TEXT, Named, Words, answer, parameter, record
from clickmw.paths import Endpoint

if TYPE_CHECKING:
    from clickmw.panels import Column, Page, Panel, Threshold

Operations = dict[str, dict[str, Any]]

NUMBER: Words = {"type": "number", "nullable": True}
COUNT: Words = {"type": "integer", "format": "int64", "minimum": 0}


# --- what visitors meet --------------------------------------------------------------------------

FOLLOW: Operations = {
    "get": {
        "operationId": "followLink",
        "summary": "Follow a signed link: record the click and lead on",
        "tags": ["Clicks"],
        "parameters": [
            parameter("token", "Made by clickmw, never by hand.", TEXT, where="path"),
            parameter("v", "Id of the view, put there by the snippet on shared pages.", TEXT),
        ],
        "responses": {
            "200": answer(
                "A page that names where an old or foreign link leads; one that makes Turbo leave.",
                html=TEXT,
            ),
            "204": {
                "description": "To the result on another site, for htmx.",
                "headers": {"HX-Redirect": {"schema": TEXT, "description": "The signed target."}},
            },
            "302": {
                "description": "To the result.",
                "headers": {"Location": {"schema": TEXT, "description": "The signed target."}},
            },
            "400": answer("The link was altered or made up.", html=TEXT),
            "425": {"description": "Asked for in advance: nothing is recorded."},
        },
    }
}


def file_operations(name: str, *, immutable: bool) -> Operations:
    """Return the operations of a browser's file; ``immutable``: named by its fingerprint."""
    operation_id, summary = _FILES[name]
    kind = "script" if name.endswith(".js") else "style"
    responses = {
        "200": answer("The file.", **{kind: TEXT}),
        "304": {"description": "The browser has it already."},
    }
    operation: dict[str, Any] = {
        "operationId": f"{operation_id}{'Immutable' if immutable else ''}",
        "summary": summary,
        "tags": ["Files"],
        "responses": responses,
    }
    if immutable:
        words = "12 hex digits made of the file's bytes; those of another version mean today's."
        operation["parameters"] = [parameter("fingerprint", words, TEXT, where="path")]
        responses["404"] = answer("This is no fingerprint.", text=TEXT)
    return {"get": operation}


_FILES = {
    "clickmw.js": ("getScript", "The browser snippet"),
    "clickmw.extra.js": ("getExtraScript", "What pages call by themselves, beside the snippet"),
    "clickmw.feedback.js": ("getFeedbackScript", "The question how well a search went"),
    "report.css": ("getStyle", "The report's style sheet"),
    "report.js": ("getReportScript", "The report's keys"),
}


# --- health --------------------------------------------------------------------------------------

_COUNTS: Words = {"type": "object", "additionalProperties": COUNT}
HEALTH_SCHEMA: Words = record(
    "Health",
    {
        "status": {"type": "string", "enum": ["ok", "degraded", "failing"]},
        "version": TEXT,
        **dict.fromkeys(
            ("received", "stored", "duplicates", "robots", "opted_out", "prefetch"), COUNT
        ),
        "rejected": _COUNTS,
        "dropped": _COUNTS,
        "unsigned": _COUNTS,
        "pending": COUNT,
        "unjoined": COUNT,
        "journal_bytes": COUNT,
        "last_event_ms": {**COUNT, "nullable": True},
        "store": record(
            "StoreHealth",
            {"kind": TEXT, "ok": {"type": "boolean"}, "error": {**TEXT, "nullable": True}},
        ),
        "causes": {"type": "array", "items": TEXT},
    },
    required=["status"],
)
_READERS: list[dict[str, list[str]]] = [
    {"ApiKeyHeader": []},
    {"ReportPassword": []},
    {"ReportSession": []},
]
HEALTH: Operations = {
    "get": {
        "operationId": "getHealth",
        "summary": "Whether events are kept",
        "description": "Without access to the report the answer is the status alone.",
        "tags": ["Health"],
        "security": [*_READERS, {}],
        "responses": {
            "200": answer("Events are kept.", json=HEALTH_SCHEMA),
            "503": answer("Events cannot be kept now.", json=HEALTH_SCHEMA),
        },
    }
}


# --- the report ----------------------------------------------------------------------------------

_OVERVIEW = ("Overview", "The headline numbers and the first rows of every panel.")
_DEFINITIONS = (
    "Privacy and definitions",
    "What is stored and for how long; every number in words and as a formula.",
)
_SETUP = ("Set-up", "The way of an event, station by station, and what to mend.")
_SHARES = ("Sharing", "The shared links in force; the links themselves are nowhere.")

REPORT: Operations = {
    "get": {
        "operationId": "getReport",
        "summary": "The report: leads to its first page",
        "tags": ["Report"],
        "responses": {
            "308": {
                "description": "To the same address with a slash at its end.",
                "headers": {"Location": {"schema": TEXT}},
            }
        },
    }
}


def report_pages() -> tuple[Endpoint, ...]:
    """Return the endpoint of every page and file of the report."""
    # Imported here: the panels load the templates' library, and few ask for this.
    from clickmw.catalog import OVERVIEW_PANELS, PAGES, PANELS
    from clickmw.metrics import METRICS

    rows = {name: _rows(panel) for name, panel in PANELS.items()}
    shown = {name: rows[name] for name in OVERVIEW_PANELS}
    overview = _overview(shown, [metric.name for metric in METRICS])
    definitions = record("Definitions", {"definitions": _DEFINED, "kept": _KEPT})
    pages = [
        *_forms("overview", _OVERVIEW, overview, _parameters()),
        *_forms("definitions", _DEFINITIONS, definitions, []),
        *_forms("setup", _SETUP, record("Setup", {"setup": _FINDINGS}), []),
        *_forms("shares", _SHARES, record("Shares", {"shares": _SHARED}), []),
    ]
    for name, panel in PANELS.items():
        fields = {"panel": TEXT, **_QUESTION, "rows": rows[name]}
        schema = record(f"{_joined(name)}Panel", fields)
        pages += _forms(name, (panel.title, panel.about), schema, _parameters(panel))
    for name, page in PAGES.items():
        tables = {each: rows[each] for each in page.panels}
        fields = {"page": TEXT, **_QUESTION, "facts": {"type": "object"}, **tables}
        schema = record(f"{_joined(name)}Page", fields)
        pages += _forms(name, (page.title, page.about), schema, _page_parameters(page))
    return (*pages, *_SESSION, *_OWNED)


def _forms(
    name: str, about: tuple[str, str], schema: Words, parameters: list[dict[str, Any]]
) -> Iterator[Endpoint]:
    """Yield the three spellings of one panel: a page, and its rows as JSON and as CSV."""
    forms = (("", {"html": TEXT}), (".json", {"json": schema}), (".csv", {"csv": TEXT}))
    for ending, content in forms:
        operation = {
            "operationId": f"report{_joined(name)}{ending[1:].capitalize()}",
            "summary": about[0],
            "description": about[1],
            "tags": ["Report"],
            "security": _READERS,
            "parameters": parameters,
            "responses": {"200": answer("The rows.", **content), **_TROUBLES[ending]},
        }
        yield Endpoint(f"report/{name}{ending}", "report", {"get": operation})


def _troubles(form: str, **told: Words) -> dict[str, Any]:
    """Return the answers of a page of the report that is not shown; *told* is the form of most."""
    found = {
        "303": {
            "description": "A one-time link (`?login=`) or a shared one (`?share=`) was used: to the "
            "page without it."
        },
        "400": answer("A parameter asks for what does not exist.", **told),
        "401": answer("The password is missing or wrong.", **told),
        "403": answer("This caller has no access.", **{**told, "html": TEXT}),
        "425": {"description": "A one-time link was asked for in advance."},
        "429": answer("Too many wrong passwords.", **told),
        "503": answer("The store cannot be read now.", **told),
    }
    return {status: Named(f"Report{form}{status}", words) for status, words in found.items()}


_TROUBLES: Mapping[str, dict[str, Any]] = {
    "": _troubles("Page", html=TEXT),
    ".json": _troubles("Json", json=record("Message", {"error": TEXT})),
    ".csv": _troubles("Csv", text=TEXT),
}
_DAY = {"type": "string", "format": "date"}
_DAYS: Mapping[str, Words] = {"first_day": _DAY, "last_day": _DAY}
_PERIOD = record("Period", _DAYS)
_QUESTION: Mapping[str, Words] = {
    "period": _PERIOD,
    "previous_period": {**record("PreviousPeriod", _DAYS), "nullable": True},
    "filters": {"type": "object", "additionalProperties": TEXT},
    "ignored_filters": {
        "type": "object",
        "description": "By panel: which of the filters do not narrow it.",
        "additionalProperties": {"type": "array", "items": TEXT},
    },
    "notes": {"type": "array", "items": TEXT},
    "time_zone": TEXT,
}
_MEASURE_FIELDS: Mapping[str, Words] = dict.fromkeys(
    ("value", "low", "high", "numerator", "denominator"), NUMBER
)
_MEASURE = record("Measure", _MEASURE_FIELDS)
#: Null where the filters in force leave it unknown.
_RATE: Words = {**record("Rate", _MEASURE_FIELDS), "nullable": True}
_CHANGE: Mapping[str, Words] = dict.fromkeys(("change", "change_low", "change_high"), NUMBER)
_FIGURE = record("Figure", {**_MEASURE_FIELDS, "previous": _MEASURE, **_CHANGE})
_DEFINED: Words = {
    "type": "array",
    "items": record(
        "Definition", dict.fromkeys(("metric", "label", "definition", "formula"), TEXT)
    ),
}


_KEPT: Words = {
    "type": "array",
    "items": record("Kept", dict.fromkeys(("topic", "text"), TEXT)),
}
_FINDINGS: Words = {
    "type": "array",
    "items": record(
        "Finding",
        {
            "topic": TEXT,
            "verdict": {**TEXT, "enum": ["good", "bad", "note"]},
            "text": TEXT,
            "remedy": TEXT,
        },
    ),
}
_MOMENT: Words = {**COUNT, "description": "Milliseconds since 1970 UTC."}
_SHARED: Words = {
    "type": "array",
    "items": record(
        "SharedLink", {"label": TEXT, "site": TEXT, "made_ms": _MOMENT, "expires_ms": _MOMENT}
    ),
}


def _overview(rows: Mapping[str, Words], metrics: list[str]) -> Words:
    return record(
        "Overview",
        {
            **_QUESTION,
            "metrics": record("Figures", dict.fromkeys(metrics, _FIGURE)),
            **rows,
            "health": HEALTH_SCHEMA,
            "definitions": _DEFINED,
        },
    )


def _rows(panel: Panel) -> Words:
    fields = {column.key: _cell(column) for column in panel.columns}
    return {"type": "array", "items": record(f"{_joined(panel.name)}Row", fields)}


def _cell(column: Column) -> Words:
    if column.key == "complete":
        return {"type": "boolean", "description": "Whether the day is over."}
    return _CELLS.get(column.kind, {**TEXT, "nullable": True})


_CELLS: Mapping[str, Words] = {
    "day": _DAY,
    "time": {**COUNT, "description": "Milliseconds since 1970 UTC."},
    "count": {**COUNT, "nullable": True},
    "mean": NUMBER,
    "ratio": _RATE,
    "seconds": NUMBER,
    "rate": _RATE,
}


def _parameters(panel: Panel | None = None) -> list[dict[str, Any]]:
    """Return the parameters of the report's pages; of one panel also how its rows are sorted."""
    from clickmw.filters import CHOICES, COMPARISONS, FACETS, MOST_ROWS, PERIODS

    found = [
        parameter("period", "Days by a name.", {**TEXT, "enum": list(PERIODS)}),
        parameter("from", "First day, instead of a period.", _DAY),
        parameter("to", "Last day; without it today.", _DAY),
        parameter("compare", "What with; previous without it.", {**TEXT, "enum": [*COMPARISONS]}),
    ]
    for name, label in FACETS.items():
        schema = {**TEXT, "enum": list(CHOICES[name])} if name in CHOICES else TEXT
        found.append(parameter(name, f"{label}: only its events.", schema))
    found.append(parameter("robots", "Robots instead of people.", {**TEXT, "enum": ["0", "1"]}))
    limit = {"type": "integer", "minimum": 1, "maximum": MOST_ROWS}
    found.append(parameter("limit", "How many rows.", limit))
    shared: list[dict[str, Any]] = [Named(f"report_{each['name']}", each) for each in found]
    if panel is None:
        return shared
    keys = [sign + column.key for column in panel.columns for sign in ("", "-")]
    words = "A column; with - the largest first."
    sort = parameter("sort", words, {**TEXT, "enum": keys})
    return [*shared, sort, *_own_parameters(panel.needs, panel.thresholds)]


def _page_parameters(page: Page) -> list[dict[str, Any]]:
    """Return the parameters of a page: those of its panels."""
    from clickmw.catalog import thresholds_of

    return [*_parameters(), *_own_parameters(page.needs, thresholds_of(page))]


def _own_parameters(needs: str, thresholds: Iterable[Threshold]) -> list[dict[str, Any]]:
    found = [
        parameter(each.name, each.label, {**COUNT, "minimum": each.least, "maximum": each.most})
        for each in thresholds
    ]
    if not needs:
        return found
    subject = parameter(needs, "What this is about.", {**TEXT, "maxLength": 2048})
    return [{**subject, "required": True}, *found]


def _joined(name: str) -> str:
    """Return *name* as a part of an identifier: "to-fix" is "ToFix"."""
    return "".join(word.capitalize() for word in name.split("-"))


def _form(name: str, fields: Mapping[str, Words], *required: str) -> dict[str, Any]:
    """Return the body of a form whose *required* fields must be there."""
    schema = record(name, fields, required=list(required))
    content = {"application/x-www-form-urlencoded": {"schema": schema}}
    return {"required": bool(required), "content": content}


_PASSWORD_FORM = _form(
    "Login",
    {"password": TEXT, "back": {**TEXT, "description": "The page to go on to."}},
    "password",
)
_REFUSED = {
    "403": answer("Refused: a wrong password, or sent from another site.", html=TEXT),
    "413": answer("The form is too long.", html=TEXT),
}
_ON = {"303": {"description": "To the report."}}
_SESSION = (
    Endpoint(
        "report/login",
        "report",
        {
            "post": {
                "operationId": "logIn",
                "summary": "Begin a session with the password",
                "tags": ["Report"],
                "requestBody": _PASSWORD_FORM,
                "responses": {
                    **_ON,
                    **_REFUSED,
                    "429": answer("Too many wrong passwords.", html=TEXT),
                },
            }
        },
    ),
    Endpoint(
        "report/logout",
        "report",
        {
            "post": {
                "operationId": "logOut",
                "summary": "End the session",
                "tags": ["Report"],
                "responses": {**_ON, **_REFUSED},
            }
        },
    ),
)


_OF_SITE = {**TEXT, "description": "The handle of a site."}


def _owned(name: str, operation_id: str, summary: str, form: Any, answered: Any) -> Endpoint:
    """Return the endpoint of a form that is the owner's alone."""
    operation = {
        "operationId": operation_id,
        "summary": summary,
        "tags": ["Report"],
        "security": _READERS,
        "requestBody": form,
        "responses": {**answered, **_REFUSED, "400": answer("A field is wrong.", html=TEXT)},
    }
    return Endpoint(f"report/{name}", "report", {"post": operation})


_OWNED = (
    _owned(
        "test-click",
        "sendTestClick",
        "Send a click that counts nowhere, and wait up to ten seconds until it is stored",
        _form("TestClick", {"site": _OF_SITE}),
        {"200": answer("The set-up page with what each station did.", html=TEXT)},
    ),
    _owned(
        "share",
        "makeShare",
        "Make a read-only link to the report; the answer shows it once",
        _form(
            "MakeShare",
            {
                "label": {**TEXT, "maxLength": 80},
                "days": {**TEXT, "enum": ["1", "7", "30", "365"]},
                "site": {**_OF_SITE, "description": "The one site it shows; all without it."},
            },
            "label",
            "days",
        ),
        {"200": answer("The shared links, and the new one.", html=TEXT)},
    ),
    _owned(
        "unshare",
        "withdrawShare",
        "Withdraw a shared link, at once",
        _form("Unshare", {"name": {**TEXT, "description": "From its row."}}, "name"),
        {"303": {"description": "To the list of shared links."}},
    ),
)


# --- the document itself -------------------------------------------------------------------------

SCHEMA: Operations = {
    "get": {
        "operationId": "getSchema",
        "summary": "This document",
        "description": "Anybody may read it: it holds no site and no key.",
        "tags": ["hienergy Clicks API"],
        "security": [{}, *KEYED],
        "responses": {
            "200": answer("An OpenAPI 3.0.3 document.", json={"type": "object"}),
            "503": answer("It cannot be made now.", json=ERROR),
        },
    }
}
