"""The built snippet: made from its sources, small, packed; and its logic, run by node."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from clickmw.assets import CHECKOUT, SCRIPTS
from clickmw.events import new_query_id
from clickmw.targets import Target, resolve
from clickmw.tokens import LinkSigner, LinkTarget

SOURCES = CHECKOUT / "source"
NODE_TESTS = Path(__file__).parent / "snippet"
SIGNER = LinkSigner("s" * 32)


def node(folder: Path, *arguments: str | Path, **environ: str) -> str:
    """Return what node printed in *folder*; a failure shows it."""
    ran = subprocess.run(
        ["node", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert ran.returncode == 0, f"{ran.stdout[-6000:]}\n{ran.stderr[-2000:]}"
    return ran.stdout


@pytest.fixture(scope="module")
def built(node_builder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    node(node_builder, SOURCES / "build.mjs", folder)
    return folder


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_shipped_file_is_what_its_source_gives(name: str, built: Path) -> None:
    assert (CHECKOUT / name).read_bytes() == (built / name).read_bytes(), "run `make snippet`"


UNPACK = """
const {readFileSync} = require("fs"), {brotliDecompressSync, gunzipSync} = require("zlib");
const [plain, gz, br] = ["", ".gz", ".br"].map((suffix) => readFileSync(process.argv[1] + suffix));
console.log(gunzipSync(gz).equals(plain), brotliDecompressSync(br).equals(plain));
"""


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_packed_files_hold_the_plain_one(name: str, node_builder: Path) -> None:
    assert node(node_builder, "-e", UNPACK, CHECKOUT / name) == "true true\n"


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_packed_file_is_the_same_at_any_time(name: str) -> None:
    # Bytes 4 to 7 of a gzip file are its time. Source: RFC 1952.
    assert (CHECKOUT / f"{name}.gz").read_bytes()[4:8] == bytes(4)


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("clickmw.js", 3_000),
        ("clickmw.js.br", 1_300),
        ("clickmw.extra.js.br", 2_000),
        ("clickmw.feedback.js.br", 1_000),
    ],
)
def test_a_file_is_small(name: str, most: int) -> None:
    assert (CHECKOUT / name).stat().st_size <= most


def test_a_file_that_grows_too_large_is_not_built(node_builder: Path, tmp_path: Path) -> None:
    for source in SOURCES.iterdir():
        (tmp_path / source.name).write_bytes(source.read_bytes())
    noise = json.dumps([hash((1, number)) for number in range(300)])
    with (tmp_path / "clickmw.js").open("a") as core:
        core.write(f"\nconsole.log({noise});\n")
    command = ["node", str(tmp_path / "build.mjs"), str(tmp_path)]
    ran = subprocess.run(command, cwd=node_builder, capture_output=True, text=True, check=False)

    assert ran.returncode == 1
    assert "too large" in ran.stderr


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_file_needs_no_more_than_a_strict_policy_allows(name: str) -> None:
    text = (CHECKOUT / name).read_text()
    unsafe = (
        r"\beval\(|new Function|innerHTML|outerHTML|insertAdjacentHTML|document\.write|\.style\b"
    )
    unsafe += r"""|createElement\(["']script|localStorage|sessionStorage|indexedDB|preventDefault"""
    found = set(re.findall(unsafe, text))

    # Its own form is the widget's to handle.
    assert found == ({"preventDefault"} if "feedback" in name else set())


# --- the page about it ------------------------------------------------------------------------------

PAGE = (CHECKOUT.parent / "docs" / "reference" / "snippet.md").read_text(encoding="utf-8")


def column(heading: str, pattern: str) -> list[str]:
    """Return what *pattern* finds at the beginning of the rows below *heading*."""
    text = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(rf"^\| `{pattern}", text, flags=re.M)


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_page_has_the_sizes(name: str) -> None:
    sizes = [f"{(CHECKOUT / f'{name}{form}').stat().st_size:,}" for form in ("", ".gz", ".br")]
    assert f"| `{name}` | {' | '.join(sizes)} |" in PAGE


def test_the_page_has_every_function() -> None:
    said = column("Functions of the core", r"clickmw\.(\w+)\(")
    said += column("Functions of the extra", r"clickmw\.(\w+)\(")
    core = (SOURCES / "clickmw.js").read_text().partition("Object.assign(clickmw, {")[2]
    extra = (SOURCES / "clickmw.extra.js").read_text().partition("Object.assign(clickmw, {")[2]
    made = set()
    for text in (core, extra):
        made |= set(re.findall(r"^    (\w+)(?:,|\(|:)", text.partition("\n  });")[0], flags=re.M))
    assert set(said) == made - {"send", "isSilent"}


def test_the_page_has_every_attribute() -> None:
    sources = "".join((SOURCES / name).read_text() for name in SCRIPTS)
    read = set(re.findall(r"script\[(data-\w+)\]", sources))
    read |= {f"data-{name}" for name in re.findall(r'"(\w+)" in dataset', sources)}
    assert set(column("Attributes of the tags", r"(data-\w+)")) == read


def test_the_page_has_every_word_of_the_question() -> None:
    source = (SOURCES / "clickmw.feedback.js").read_text()
    words = dict(re.findall(r'word\("(\w+)", "(.+?)"\)', source))
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \|$", PAGE, flags=re.M)
    assert {name: text for name, text in rows if name in words} == words
    assert set(re.findall(r'word\("(\w+)"\)', source)) == {"query", "search", "site"}


def test_the_page_has_every_event_of_new_content() -> None:
    names = re.findall(r"(?:turbo|htmx):[\w:-]+", (SOURCES / "clickmw.js").read_text())
    assert names
    assert [name for name in names if f"`{name}`" not in PAGE] == []


# --- logic ------------------------------------------------------------------------------------------

ASCII = "".join(map(chr, range(0x21, 0x7F)))


def any_targets() -> list[LinkTarget]:
    """Return links to all kinds of places that may be signed, each of a search of its own."""
    made: dict[str, LinkTarget] = {}
    beginnings = st.sampled_from(["/", "/doc/", "http://a.example/", "https://b.example:8443/?q="])
    locations = st.builds(str.__add__, beginnings, st.text(ASCII, max_size=40))

    @settings(
        max_examples=300,
        phases=[Phase.generate],
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        st.sampled_from(["", "nps.gov", "a-b_c"]),
        st.integers(1, 10_000),
        st.sampled_from(["BWEB", "I14Y", "my-own_1"]),
        st.text(max_size=20),
        locations,
    )
    def collect(site: str, position: int, module: str, item: str, href: str) -> None:
        found = resolve(href, page_path="/search", page_host="site.example")
        if isinstance(found, Target):
            search = new_query_id(len(made))
            made[search] = LinkTarget(site, search, position, module, item, found.location)

    collect()
    return list(made.values())


def test_the_logic_of_the_scripts_holds(node_clients: Path, tmp_path: Path) -> None:
    targets = any_targets()
    assert len(targets) > 100
    tokens = tmp_path / "tokens.json"
    cases = [[SIGNER.sign_link(target), target._asdict()] for target in targets]
    tokens.write_text(json.dumps(cases))

    files = sorted(NODE_TESTS.glob("*.test.mjs"))
    said = node(node_clients, "--test", *files, CLICKMW_TOKENS=str(tokens))
    counts = dict(re.findall(r"^# (pass|fail|skipped) (\d+)$", said, flags=re.M))
    assert int(counts["pass"]) > 50
    assert (counts["fail"], counts["skipped"]) == ("0", "0")
