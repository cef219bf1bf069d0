"""Put what lies outside of docs/ on the documentation site, and lead links to it there.

The pages link to each other as files of the checkout, so that they can be read there as well.
Functions named ``on_…`` are MkDocs' own: see "Hooks" in its user guide.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

CHECKOUT = Path(__file__).resolve().parent.parent
#: File of the checkout → page of the site.
PAGES = {
    "README.md": "readme.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "LICENSE": "licence.md",
    "benchmarks/RESULTS.md": "measurements.md",
    "docs/adr/": "adr/index.md",
} | {
    f"examples/{path.name}": f"examples/{path.stem}.md"
    for path in sorted((CHECKOUT / "examples").glob("*.py"))
}
_LINK = re.compile(r"(\]\()([^)#\s]+)(#[^)\s]*)?(\))")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages from outside of docs/ and the list of decisions."""
    for name, page in PAGES.items():
        files.append(File.generated(config, page, content=_content(name)))
    return files


def on_page_markdown(markdown: str, page: Any, **_more: Any) -> str:
    """Lead the links of a page to where their files are on the site."""
    source = next(
        (name for name, shown in PAGES.items() if shown == page.file.src_uri),
        f"docs/{page.file.src_uri}",
    )
    here = posixpath.dirname(page.file.src_uri)

    def lead(link: re.Match[str]) -> str:
        before, target, anchor, after = link.groups(default="")
        if "://" in target or target.startswith("mailto:"):
            return link[0]
        place = _place(posixpath.normpath(posixpath.join(posixpath.dirname(source), target)))
        return f"{before}{posixpath.relpath(place, here or '.')}{anchor}{after}"

    return _LINK.sub(lead, markdown)


def _place(name: str) -> str:
    """Return the page of a file of the checkout."""
    return PAGES.get(name) or PAGES.get(f"{name}/") or name.removeprefix("docs/")


def _content(name: str) -> str:
    if name == "docs/adr/":
        return _decisions()
    text = (CHECKOUT / name).read_text("utf-8")
    if name.endswith(".py"):
        return f"# {name}\n\n```python\n{text}```\n"
    return f"# Licence\n\n```text\n{text}```\n" if name == "LICENSE" else text


def _decisions() -> str:
    rows = ["# Decisions", ""]
    for path in sorted((CHECKOUT / "docs" / "adr").glob("*.md")):
        title = path.read_text("utf-8").partition("\n")[0].removeprefix("# ")
        rows.append(f"- [{title}]({path.name})")
    return "\n".join(rows) + "\n"
