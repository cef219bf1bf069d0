"""Paths: which endpoint a path belongs to."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clickmw.paths import Endpoint, PathTable


def endpoint(path: str, *, any_case: bool = False) -> Endpoint:
    return Endpoint(path, "answer", {}, any_case)


ENDPOINTS = (
    endpoint("clicked", any_case=True),
    endpoint("api/v2/click", any_case=True),
    endpoint("api/v2/track"),
    endpoint("v1/stats/{key}"),
    endpoint("v1/beacon/click/{ad_id}"),
    endpoint("v1/beacon/conversion"),
    endpoint("v1/b.d/{site}/{page}", any_case=True),
)
TABLE: PathTable[str] = PathTable()
TABLE.add("owner", ENDPOINTS)


@pytest.mark.parametrize(
    ("path", "found", "names"),
    [
        ("clicked", "clicked", {}),
        ("clicked/", "clicked", {}),
        ("Clicked", "clicked", {}),
        ("API/v2/CLICK/", "api/v2/click", {}),
        ("api/v2/track/", "api/v2/track", {}),
        ("v1/stats/testkey/", "v1/stats/{key}", {"key": "testkey"}),
        ("v1/stats/a key?", "v1/stats/{key}", {"key": "a key?"}),
        ("v1/stats/a\nb", "v1/stats/{key}", {"key": "a\nb"}),
        ("v1/beacon/click/{ad_id}", "v1/beacon/click/{ad_id}", {"ad_id": "{ad_id}"}),
        ("v1/beacon/conversion", "v1/beacon/conversion", {}),
        ("V1/B.D/x/y", "v1/b.d/{site}/{page}", {"site": "x", "page": "y"}),
    ],
)
def test_a_path_leads_to_its_endpoint(path: str, found: str, names: Mapping[str, str]) -> None:
    place = TABLE.find(path)
    assert place is not None
    assert (place[0], place[1].path, place[2]) == ("owner", found, names)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "//",
        "click",
        "clicked//",
        "/clicked",
        "clicked/x",
        "API/v2/track",
        "v1/stats",
        "v1/stats/",
        "v1/stats//",
        "v1/stats/a/b",
        "v1/bxd/x/y",
        "x/v1/stats/a",
    ],
)
def test_other_paths_lead_nowhere(path: str) -> None:
    assert TABLE.find(path) is None


def test_the_first_of_two_owners_keeps_an_open_path() -> None:
    table: PathTable[str] = PathTable()
    table.add("first", [endpoint("v1/{a}")])
    table.add("second", [endpoint("v1/{b}")])
    found = table.find("v1/x")
    assert found is not None
    assert found[0] == "first"


def naive(path: str) -> str | None:
    """Return the endpoint of *path*, read part by part as a person would."""
    parts = (path[:-1] if path.endswith("/") else path).split("/")
    for each in ENDPOINTS:
        wanted = each.path.split("/")
        if len(wanted) == len(parts) and all(
            (
                part != ""
                if "{" in want
                else part == want or (each.any_case and part.lower() == want)
            )
            for want, part in zip(wanted, parts, strict=True)
        ):
            return each.path
    return None


PARTS = sorted({part for each in ENDPOINTS for part in each.path.split("/")} | {"", "x", "\xe4.\n"})


@given(
    st.lists(st.sampled_from(PARTS), max_size=5).map("/".join), st.sampled_from((str, str.upper))
)
@example("v1/beacon/conversion/", str)
def test_the_table_agrees_with_a_naive_reading(path: str, spelt: type[str]) -> None:
    found = TABLE.find(spelt(path))
    assert (found and found[1].path) == naive(spelt(path))


@given(st.sampled_from(ENDPOINTS), st.text(alphabet="aZ9-._~%{} \n\xe4", min_size=1))
def test_what_a_path_leaves_open_comes_back(each: Endpoint, text: str) -> None:
    found = TABLE.find(each.path.replace("{key}", text).replace("{ad_id}", text))
    assert found is not None
    assert found[1] == each
    assert set(found[2].values()) <= {text, "{site}", "{page}"}


@given(st.sampled_from(ENDPOINTS), st.text(), st.booleans())
def test_whatever_is_found_begins_as_the_table_says(each: Endpoint, text: str, upper: bool) -> None:
    path = re.sub("{.*?}", lambda _: text, each.path)
    path = path.upper() if upper else path
    assert TABLE.find(path) is None or path.lower().startswith(TABLE.beginnings)


def test_a_table_yields_its_endpoints() -> None:
    assert sorted(each.path for _, each in TABLE) == sorted(each.path for each in ENDPOINTS)
