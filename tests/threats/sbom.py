"""What runs with clickmw, as CycloneDX JSON: what it requires, and what that requires in turn.

``python tests/threats/sbom.py FOLDER`` writes ``clickmw-<version>.cdx.json`` there, of the versions that
this environment has; extras are left out, and what only another platform needs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def required(found: Distribution) -> Iterator[Distribution]:
    """Yield what a distribution needs here, without its extras."""
    for line in found.requires or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield distribution(requirement.name)


def component_of(found: Distribution, kind: ComponentType) -> Component:
    name = canonicalize_name(found.name)
    url = PackageURL("pypi", name=name, version=found.version)
    said = found.metadata.get("License-Expression") or found.metadata.get("License") or ""
    one_line = said if said and "\n" not in said else ""
    licenses = [LicenseFactory().make_from_string(one_line)] if one_line else []
    return Component(
        name=name,
        version=found.version,
        type=kind,
        bom_ref=str(url),
        purl=url,
        licenses=licenses,
        description=found.metadata.get("Summary"),
    )


def bill(name: str = "clickmw") -> Bom:
    """Return the bill of materials of an installed distribution."""
    made = Bom()
    root = component_of(distribution(name), ComponentType.LIBRARY)
    made.metadata.component = root
    waiting, known = [(root, distribution(name))], {root.name: root}
    while waiting:
        component, found = waiting.pop()
        needed = []
        for each in required(found):
            key = canonicalize_name(each.name)
            if key not in known:
                known[key] = component_of(each, ComponentType.LIBRARY)
                made.components.add(known[key])
                waiting.append((known[key], each))
            needed.append(known[key])
        made.register_dependency(component, needed)
    return made


def write(folder: Path) -> Path:
    """Write the bill into *folder*; return its file."""
    made = bill()
    version = distribution("clickmw").version
    path = folder / f"clickmw-{version}.cdx.json"
    folder.mkdir(parents=True, exist_ok=True)
    outputter = make_outputter(made, OutputFormat.JSON, SchemaVersion.V1_6)
    outputter.output_to_file(str(path), allow_overwrite=True, indent=2)
    return path


if __name__ == "__main__":
    sys.stdout.write(f"{write(Path(sys.argv[1]))}\n")
