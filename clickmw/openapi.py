"""One OpenAPI 3.0.3 document of everything that answers, made of the endpoints themselves.

It says what anybody may know: paths, parameters and shapes, no site and no key. So it is shown to
everybody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from clickmw import __version__
from clickmw.paths import Endpoint
from clickmw.settings import Settings
from clickmw.wire import Reply, Request, json_reply, mount_path

Words = Mapping[str, Any]  #: part of a document

INTRODUCTION = (
    "Click analytics for search pages: the redirect and the beacon that record what people do, the "
    "report, the numbers for programs, and the click APIs that other services' front ends and "
    "servers speak. With the setting `native_paths` the paths of those APIs answer at the site's "
    "root too."
)
SECURITY_SCHEMES: Words = {
    "ApiKeyHeader": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Api-Key",
        "description": "A key of the settings: `keys`, or `api_keys` of a site.",
    },
    "ApiKeyBearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "The same key in another header.",
    },
    "ApiKeyQuery": {
        "type": "apiKey",
        "in": "query",
        "name": "api_key",
        "description": "The same key where no header can be sent; addresses end up in logs.",
    },
    "ReportPassword": {
        "type": "http",
        "scheme": "basic",
        "description": "The `admin_password` of the settings, with any name.",
    },
    "ReportSession": {
        "type": "apiKey",
        "in": "cookie",
        "name": "clickmw_report",
        "description": "What a login in a browser leaves behind.",
    },
}
#: Any one of the three ways to show a key.
KEYED: list[dict[str, list[str]]] = [
    {"ApiKeyHeader": []},
    {"ApiKeyBearer": []},
    {"ApiKeyQuery": []},
]


class SchemaPage:
    """``GET api/v1/schema``: the document; ``pages`` returns the endpoints to describe."""

    def __init__(self, settings: Settings, pages: Callable[[], Iterable[Endpoint]]) -> None:
        self._prefix = settings.prefix
        self._pages = pages
        self._said: dict[str, Reply] = {}

    def schema(self, request: Request) -> Reply:
        """Return the document; its addresses are those of the mount it was asked at."""
        if request.method not in ("GET", "HEAD"):
            return wrong_method()
        mount = mount_path(request.environ.get("SCRIPT_NAME", ""))
        if mount not in self._said:
            # Anybody may ask, and it takes long to make. Nearly all installs have one mount.
            self._said = {mount: self._reply(mount)}
        return self._said[mount]

    def _reply(self, mount: str) -> Reply:
        servers = [{"url": mount + self._prefix, "description": "this install"}]
        document = {**make_document(self._pages()), "servers": servers}
        return json_reply(200, document, API_HEADERS)

    def unable(self, request: Request) -> Reply:
        """Return the answer when the document cannot be made."""
        return error_reply(503, "SERVICE_UNAVAILABLE", "The description cannot be made now.")


def make_document(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """Return the document of *endpoints*; those without operations are other names of another one.

    What has a title, or is :class:`Named`, stands once among the components. Servers are left to
    the caller.
    """
    components = _Components()
    paths = {
        f"/{endpoint.path}": {
            method: components.operation(words) for method, words in endpoint.operations.items()
        }
        for endpoint in endpoints
        if endpoint.operations
    }
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "clickmw",
            "version": __version__,
            "description": INTRODUCTION,
            "license": {"name": "MIT", "url": "https://opensource.org/license/mit"},
        },
        "servers": [],
        "tags": [{"name": name} for name in _tags(paths)],
        "paths": paths,
        "components": {**components.kept, "securitySchemes": SECURITY_SCHEMES},
    }


# --- words of operations -------------------------------------------------------------------------

API_HEADERS = (
    ("Cache-Control", "no-store"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Robots-Tag", "noindex, nofollow"),
)


def error_reply(
    status: int, code: str, message: str, headers: Iterable[tuple[str, str]] = ()
) -> Reply:
    """Return the error object of the hienergy API: an upper-case word and a sentence."""
    error = {"code": code, "message": message}
    return json_reply(status, {"error": error}, [*API_HEADERS, *headers])


def wrong_method() -> Reply:
    """Return the answer to anything but reading."""
    message = "This address can only be read: ask with GET."
    return error_reply(405, "METHOD_NOT_ALLOWED", message, [("Allow", "GET, HEAD")])


def parameter(
    name: str, description: str, schema: Words, *, where: str = "query", required: bool = False
) -> dict[str, Any]:
    """Return a Parameter Object; ``where`` is query, path or header."""
    required = required or where == "path"
    return {
        "name": name,
        "in": where,
        "required": required,
        "description": description,
        "schema": schema,
    }


class Named(dict[str, Any]):
    """A parameter or response that stands once in the document, called *name*."""

    def __init__(self, name: str, words: Words) -> None:
        super().__init__(words)
        self.name = name


def answer(description: str, **content: Words) -> dict[str, Any]:
    """Return a Response Object; *content* by kind: json, html, text, csv, script or style."""
    found: dict[str, Any] = {"description": description}
    if content:
        found["content"] = {_KINDS[kind]: {"schema": schema} for kind, schema in content.items()}
    return found


def record(title: str, properties: Words, *, required: Iterable[str] | None = None) -> Words:
    """Return the schema of an object called *title*; all of its *properties* are required, or those named."""
    names = list(properties if required is None else required)
    made = {"title": title, "type": "object", "properties": properties}
    return {**made, "required": names} if names else made


_KINDS = {
    "json": "application/json",
    "html": "text/html",
    "text": "text/plain",
    "csv": "text/csv",
    "script": "text/javascript",
    "style": "text/css",
}
TEXT: Words = {"type": "string"}
ERROR: Words = record(
    "ErrorAnswer",
    {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": {**TEXT, "example": "BAD_REQUEST"},
                "message": {**TEXT, "example": "Date range cannot exceed 90 days"},
            },
        }
    },
)


# --- one place for what is said often ------------------------------------------------------------


class _Components:
    """What stands once in the document, by kind and name, and is referred to from everywhere else."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, Words]] = {"schemas": {}, "parameters": {}, "responses": {}}

    def operation(self, words: Words) -> dict[str, Any]:
        """Return an Operation Object that refers to what is kept here."""
        made = {**words}
        if "parameters" in made:
            made["parameters"] = [self._part("parameters", each) for each in made["parameters"]]
        if "requestBody" in made:
            made["requestBody"] = self._with_schemas(made["requestBody"])
        told = words["responses"].items()
        made["responses"] = {status: self._part("responses", each) for status, each in told}
        return made

    def _part(self, kind: str, words: Words) -> Words:
        made = self._with_schemas(words)
        return self._keep(kind, words.name, made) if isinstance(words, Named) else made

    def _with_schemas(self, words: Words) -> Words:
        made = {**words}
        if "schema" in made:
            made["schema"] = self._schema(made["schema"])
        if "content" in made:
            content = made["content"].items()
            made["content"] = {kind: self._with_schemas(each) for kind, each in content}
        return made

    def _schema(self, schema: Words) -> Words:
        made = {word: self._inside(word, value) for word, value in schema.items()}
        title = made.get("title", "")
        return self._keep("schemas", title, made) if title.isidentifier() else made

    def _inside(self, word: str, value: Any) -> Any:
        if word == "properties":
            return {name: self._schema(each) for name, each in value.items()}
        if word in ("allOf", "anyOf", "oneOf"):
            return [self._schema(each) for each in value]
        one = word in ("items", "additionalProperties", "not") and isinstance(value, Mapping)
        return self._schema(value) if one else value

    def _keep(self, kind: str, name: str, made: Words) -> Words:
        """Return the reference to *made*, or *made* itself where its name is taken by another."""
        if self.kept[kind].setdefault(name, made) != made:
            return made
        return {"$ref": f"#/components/{kind}/{name}"}


def _tags(paths: Words) -> list[str]:
    operations = (each for item in paths.values() for each in item.values())
    return list(dict.fromkeys(tag for each in operations for tag in each.get("tags", ())))
