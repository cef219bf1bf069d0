"""The browser's files: found by name, kept by caches, packed when that is wanted."""

from __future__ import annotations

import gzip
import hashlib
import json
from base64 import b64decode
from typing import Any

import pytest
from click.testing import CliRunner
from webtest import TestRequest

from clickmw.assets import (
    CHECKOUT,
    SCRIPTS,
    TYPES,
    asset_of,
    fingerprint,
    integrity,
    marked_name,
    read_asset,
    serve_asset,
)
from clickmw.cli import main

NAMES = sorted(TYPES)


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
    assert asset_of(marked_name(name)) == (name, True)


@pytest.mark.parametrize("name", NAMES)
def test_the_fingerprint_of_another_version_means_todays_file_for_a_while(name: str) -> None:
    assert asset_of(marked_name(name, "0123456789ab")) == (name, False)


def test_an_integrity_is_the_hash_of_the_bytes() -> None:
    algorithm, _, proof = integrity("clickmw.js").partition("-")

    assert b64decode(proof) == hashlib.new(algorithm, read_asset("clickmw.js")).digest()


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "x.js",
        "clickmw",
        "clickmw.css",
        "clickmw.extra",
        "clickmw.zzzzzzzzzzzz.js",
        "clickmw.00000000000.js",
        "clickmw.000000000000.css",
        "clickmw.js.br",
        "clickmw.js.gz",
        "source/clickmw.js",
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
def test_the_style_sheet_is_packed_for_those_who_take_that(accepted: str) -> None:
    _, headers, body = ask("report.css", **{"Accept-Encoding": accepted})

    assert headers["Content-Encoding"] == "gzip"
    assert headers["Content-Length"] == str(len(body))
    assert len(body) < len(read_asset("report.css")) / 2
    assert gzip.decompress(body) == read_asset("report.css")


FORMS = {
    "gzip, deflate, br, zstd": "br",
    "br": "br",
    "gzip, BR;q=0.1": "br",
    "gzip": "gzip",
    "br;q=0, gzip": "gzip",
    "br ; Q=0.000 , gzip;q=1.0": "gzip",
    "x-br, brotli, gzip": "gzip",
    "": None,
    "identity, deflate": None,
    "br;q=0, gzip;q=0": None,
}


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize(("accepted", "form"), FORMS.items(), ids=list(FORMS))
def test_a_script_is_sent_in_the_smallest_form_that_is_taken(
    name: str, accepted: str, form: str | None
) -> None:
    _, headers, body = ask(name, **{"Accept-Encoding": accepted})

    assert headers.get("Content-Encoding") == form
    assert headers["Content-Length"] == str(len(body))
    suffix = {"br": ".br", "gzip": ".gz", None: ""}[form]
    assert body == (CHECKOUT / f"{name}{suffix}").read_bytes()


@pytest.mark.parametrize("name", SCRIPTS)
def test_each_form_of_a_script_has_a_tag_of_its_own(name: str) -> None:
    found = [ask(name, **{"Accept-Encoding": each})[1] for each in ("", "gzip", "br")]

    assert len({headers["ETag"] for headers in found}) == 3
    assert {headers["Vary"] for headers in found} == {"Accept-Encoding"}


@pytest.mark.parametrize(
    ("name", "policy", "readers"),
    [(name, "cross-origin", "*") for name in SCRIPTS] + [("report.css", "same-origin", None)],
)
def test_pages_of_other_sites_may_load_the_scripts_alone(
    name: str, policy: str, readers: str | None
) -> None:
    headers = ask(name)[1]

    assert headers["Cross-Origin-Resource-Policy"] == policy
    assert headers.get("Access-Control-Allow-Origin") == readers


@pytest.mark.parametrize("accepted", ["", "br", "identity", "gzip;q=0", "br, gzip; q=0.0"])
def test_the_style_sheet_is_not_packed_for_others(accepted: str) -> None:
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


# -- the command -------------------------------------------------------------------------------


def snippet(*options: str) -> str:
    result = CliRunner().invoke(main, ["snippet", *options])
    assert result.exit_code == 0, result.output
    return result.output


def test_the_command_prints_a_tag_for_each_file_and_the_policy() -> None:
    said = snippet()
    for name in SCRIPTS:
        assert f'src="/_clicks/{marked_name(name)}" integrity="{integrity(name)}"' in said
    assert "Content-Security-Policy: script-src 'self'; connect-src 'self'\n" in said


def test_the_command_prints_the_same_as_json() -> None:
    facts = json.loads(snippet("--json"))

    assert facts["csp"] == {"script-src": "'self'", "connect-src": "'self'"}
    assert list(facts["tags"]) == list(SCRIPTS)
    assert all(tag in snippet() for tag in facts["tags"].values())


def test_a_page_of_another_site_asks_before_it_runs_our_script(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CLICKMW_PREFIX", "/seen")
    facts = json.loads(snippet("--json", "--origin", "https://clicks.example/"))

    assert set(facts["csp"].values()) == {"https://clicks.example"}
    tag = facts["tags"]["clickmw.js"]
    assert f'src="https://clicks.example/seen/{marked_name("clickmw.js")}"' in tag
    assert 'crossorigin="anonymous"' in tag
