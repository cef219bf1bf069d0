"""The browser's files: found by name, kept by caches, packed when that is wanted."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from webtest import TestRequest

from clickmw.assets import TYPES, asset_of, fingerprint, read_asset, serve_asset

NAMES = sorted(TYPES)


def marked(name: str) -> str:
    """Return the name that changes with the bytes."""
    stem, _, suffix = name.rpartition(".")
    return f"{stem}.{fingerprint(name)}.{suffix}"


def ask(
    name: str, *, immutable: bool = False, method: str = "GET", **headers: str
) -> tuple[str, dict[str, str], bytes]:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        return serve_asset(environ, start_response, name, immutable)

    request = TestRequest.blank("/", method=method, headers=headers)
    status, found, chunks = request.call_application(app)
    assert len({key.lower() for key, _ in found}) == len(found)
    return status[:3], dict(found), b"".join(chunks)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_sent_as_it_is(name: str) -> None:
    status, headers, body = ask(name)

    assert (status, body) == ("200", read_asset(name))
    assert headers["Content-Length"] == str(len(body))
    assert headers["Content-Type"] == TYPES[name]
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("immutable", "kept"),
    [(False, "public, max-age=3600"), (True, "public, max-age=31536000, immutable")],
    ids=["by its name", "by its fingerprint"],
)
def test_caches_keep_a_file(immutable: bool, kept: str) -> None:
    assert ask("clickmw.js", immutable=immutable)[1]["Cache-Control"] == kept


@pytest.mark.parametrize("name", NAMES)
def test_a_fingerprint_is_twelve_hex_digits(name: str) -> None:
    assert len(fingerprint(name)) == 12
    assert int(fingerprint(name), 16) >= 0


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_found_by_its_name_and_by_its_fingerprint(name: str) -> None:
    assert asset_of(name) == (name, False)
    assert asset_of(marked(name)) == (name, True)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "x.js",
        "clickmw",
        "clickmw.css",
        "clickmw.000000000000.js",
        "clickmw..js",
        "../setup.cfg",
        "__init__.py",
        "CLICKMW.JS",
        "clickmw.js/",
        "clickmw.js\0",
        "..%2fclickmw.js",
    ],
)
def test_no_other_file_is_found(name: str) -> None:
    assert asset_of(name) is None


TAGS = ["{tag}", "W/{tag}", '"other", {tag}', 'W/"other",W/{tag}', "*"]


@pytest.mark.parametrize("form", TAGS)
def test_who_has_the_file_is_not_sent_it_again(form: str) -> None:
    tag = ask("clickmw.js")[1]["ETag"]
    status, headers, body = ask("clickmw.js", **{"If-None-Match": form.format(tag=tag)})

    assert (status, body, headers["ETag"]) == ("304", b"", tag)
    assert "Content-Length" not in headers
    assert headers["Cache-Control"] == "public, max-age=3600"


def test_who_has_another_file_is_sent_this_one() -> None:
    assert ask("clickmw.js", **{"If-None-Match": '"other"'})[0] == "200"


def test_head_is_told_the_length_alone() -> None:
    status, headers, body = ask("clickmw.js", method="HEAD")

    assert (status, body) == ("200", b"")
    assert headers["Content-Length"] == str(len(read_asset("clickmw.js")))


@pytest.mark.parametrize("accepted", ["gzip", "br, gzip, deflate", "GZIP;q=0.5"])
def test_a_file_is_packed_for_those_who_take_that(accepted: str) -> None:
    _, headers, body = ask("report.css", **{"Accept-Encoding": accepted})

    assert headers["Content-Encoding"] == "gzip"
    assert headers["Content-Length"] == str(len(body))
    assert len(body) < len(read_asset("report.css")) / 2
    assert gzip.decompress(body) == read_asset("report.css")


@pytest.mark.parametrize("accepted", ["", "br", "identity", "gzip;q=0", "br, gzip; q=0.0"])
def test_a_file_is_not_packed_for_others(accepted: str) -> None:
    _, headers, body = ask("report.css", **{"Accept-Encoding": accepted})

    assert "Content-Encoding" not in headers
    assert body == read_asset("report.css")


def test_caches_keep_packed_and_unpacked_files_apart() -> None:
    plain = ask("report.css")[1]
    packed = ask("report.css", **{"Accept-Encoding": "gzip"})[1]

    assert plain["Vary"] == packed["Vary"] == "Accept-Encoding"
    assert plain["ETag"] != packed["ETag"]


def test_a_packed_file_is_known_by_its_own_tag() -> None:
    takes = {"Accept-Encoding": "gzip"}
    tag = ask("report.css", **takes)[1]["ETag"]

    assert ask("report.css", **takes, **{"If-None-Match": tag})[0] == "304"
