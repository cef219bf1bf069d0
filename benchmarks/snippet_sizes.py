"""S: the bytes that each page of results loads, next to other trackers as npm has them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import NamedTuple

from benchmarks.rounds import Row
from clickmw.assets import CHECKOUT, SCRIPTS

FOLDER = Path(__file__).resolve().parent.parent / ".conformance" / "trackers"
#: Package and version → its file for browsers, minified as it is shipped; "": what a page has to
#: bundle, minified by esbuild.
TRACKERS = {
    "plausible-tracker@0.3.9": "",
    "@elastic/behavioral-analytics-javascript-tracker@2.1.4": "",
    "@counterscale/tracker@3.4.1": "dist/loader/tracker.js",
    "ahoy.js@0.4.5": "dist/ahoy.min.js",
    "@plausible-analytics/tracker@0.4.6": "plausible.js",
    "pirsch-sdk@2.9.1": "web.js",
    "@snowplow/browser-plugin-link-click-tracking@4.6.8": "dist/index.umd.min.js",
    "@openpanel/web@1.4.1": "dist/src/tracker.global.js",
    "@coveo/relay@2.1.1": "",
    "search-insights@2.17.3": "dist/search-insights.iife.min.js",
    "swetrix@4.6.1": "dist/swetrix.js",
    "ackee-tracker@5.1.3": "dist/ackee-tracker.min.js",
    "@snowplow/browser-tracker@4.10.1": "dist/index.umd.min.js",
    "coveo.analytics@2.30.55": "dist/coveoua.browser.js",
    "addsearch-js-client@1.0.4": "dist/addsearch-js-client.min.js",
    "posthog-js@1.449.2": "dist/array.js",
}
#: Our file → the most bytes of brotli that it may have.
BUDGETS = dict(zip(SCRIPTS, (1_300, 2_000, 1_000), strict=True))
MEASURE = """
const { buildSync } = require("esbuild"), { readFileSync } = require("fs"), zlib = require("zlib");
const text = (name) => buildSync({
  stdin: { contents: `import * as all from "${name}"; window.tracker = all`, resolveDir: "." },
  bundle: true, minify: true, format: "iife", target: "es2018",
  platform: "browser", write: false, logLevel: "error",
}).outputFiles[0].contents;
const sizes = JSON.parse(process.argv[1]).map(([name, file]) => {
  const bytes = file ? readFileSync(file) : Buffer.from(text(name));
  return [bytes.length, zlib.gzipSync(bytes, { level: 9 }).length, zlib.brotliCompressSync(bytes).length];
});
console.log(JSON.stringify(sizes));
"""


class Size(NamedTuple):
    """Bytes of a file: minified, as gzip (level 9) and as brotli (quality 11)."""

    plain: int
    gzip: int
    brotli: int

    def __str__(self) -> str:
        return f"{self.brotli:,} B (minified {self.plain:,}, gzip {self.gzip:,})"


def run(quick: bool) -> list[Row]:
    """Return the rows S."""
    ours = {name: _own_size(name) for name in SCRIPTS}
    rows = [_own_row(name, size) for name, size in ours.items()]
    if quick:
        return rows
    core = ours["clickmw.js"].brotli
    return rows + [
        Row(
            "S",
            "clickmw.js, brotli, next to another tracker",
            f"{package.rpartition('@')[0]} {package.rpartition('@')[2]}"
            f"{'' if TRACKERS[package] else ', bundled'}: {size}",
            f"{core / size.brotli:.2g} ×",
            "–",
            "–",
        )
        for package, size in sorted(_their_sizes().items(), key=lambda item: item[1].brotli)
    ]


def _own_size(name: str) -> Size:
    return Size(*((CHECKOUT / f"{name}{form}").stat().st_size for form in ("", ".gz", ".br")))


def _own_row(name: str, size: Size) -> Row:
    most = BUDGETS[name]
    met = "met" if size.brotli <= most else "MISSED"
    return Row("S", f"{name}: brotli", "–", str(size), f"≤ {most:,} B", met)


def _their_sizes() -> dict[str, Size]:
    """Return the sizes of the other trackers; npm installs them on first use."""
    versions = dict(package.rsplit("@", 1) for package in TRACKERS)
    wanted = json.dumps({"private": True, "dependencies": {**versions, "esbuild": "0.28.2"}})
    note = FOLDER / "package.json"
    # What npm writes last, when all is there.
    complete = (FOLDER / "node_modules" / ".package-lock.json").exists()
    if not complete or note.read_text() != wanted:
        FOLDER.mkdir(parents=True, exist_ok=True)
        note.write_text(wanted)
        _run("npm", "install", *_AS_THEY_ARE)
    files = [
        (name, file and f"node_modules/{name}/{file}")
        for name, file in zip(versions, TRACKERS.values(), strict=True)
    ]
    sizes = json.loads(_run("node", "-e", MEASURE, json.dumps(files)))
    return {package: Size(*size) for package, size in zip(TRACKERS, sizes, strict=True)}


_AS_THEY_ARE = ("--ignore-scripts", "--legacy-peer-deps", "--no-package-lock", "--no-audit")


def _run(*command: str) -> str:
    return subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=True).stdout
