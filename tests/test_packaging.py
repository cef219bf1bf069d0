"""What is shipped: the wheel and the sdist hold every file, and each way to install finds them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

pytest.importorskip("build")

CHECKOUT = Path(__file__).resolve().parent.parent
SOURCES = ("clickmw", "static", "examples", "docs", "tests", "benchmarks")
FILES = (
    "setup.cfg",
    "pyproject.toml",
    "MANIFEST.in",
    "Makefile",
    "LICENSE",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
)
NOISE = shutil.ignore_patterns("__pycache__", ".*_cache", "*.egg-info")

SETUP = ConfigParser()
SETUP.read(CHECKOUT / "setup.cfg", encoding="utf-8")
PACKAGE_DIR = dict(
    line.replace(" ", "").split("=")
    for line in SETUP["options"]["package_dir"].split("\n")
    if line.strip()
)
PACKAGES = SETUP["options"]["packages"].split()


def folder_of(package: str) -> str:
    return PACKAGE_DIR.get(package, package.replace(".", "/"))


def shipped_files(*patterns: str) -> set[str]:
    """Return the files of the packages that match, as the wheel names them."""
    return {
        f"{package.replace('.', '/')}/{path.name}"
        for package in PACKAGES
        for pattern in patterns
        for path in (CHECKOUT / folder_of(package)).glob(pattern)
    }


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Return what *command* printed; its complaints are part of the failure."""
    quiet = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    ran = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=quiet,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, f"{ran.stdout[-2000:]}\n{ran.stderr[-2000:]}"
    return ran.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout: building and editable installs leave folders behind."""
    copy = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        shutil.copytree(CHECKOUT / name, copy / name, ignore=NOISE)
    for name in FILES:
        shutil.copy(CHECKOUT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def archives(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The sdist, and the wheel made from it as an index would serve it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, source)
    return {
        "wheel": next(folder.glob("*.whl")),
        "sdist": next(folder.glob("*.tar.gz")),
    }


@pytest.fixture(scope="module")
def wheel_names(archives: dict[str, Path]) -> set[str]:
    return set(zipfile.ZipFile(archives["wheel"]).namelist())


def test_every_folder_with_an_init_file_is_a_package_that_is_shipped() -> None:
    roots = [CHECKOUT / "clickmw", *(CHECKOUT / folder for folder in PACKAGE_DIR.values())]
    inits = {path.parent for root in roots for path in root.rglob("__init__.py")}
    assert {CHECKOUT / folder_of(package) for package in PACKAGES} == inits


def test_the_list_of_packages_is_in_order_and_names_each_once() -> None:
    assert sorted(set(PACKAGES)) == PACKAGES


@pytest.mark.parametrize("pattern", ["*.py", "*.html", "*.css", "*.js", "*.gz", "*.br", "py.typed"])
def test_the_wheel_holds_every_file(pattern: str, wheel_names: set[str]) -> None:
    expected = shipped_files(pattern)
    assert expected
    assert expected <= wheel_names


def test_the_wheel_holds_no_tests_and_no_caches(wheel_names: set[str]) -> None:
    tops = {name.split("/")[0] for name in wheel_names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"clickmw"}
    assert not [name for name in wheel_names if "__pycache__" in name]


@pytest.mark.parametrize(
    "name", ["LICENSE", "README.md", "CHANGELOG.md", "tests/test_packaging.py"]
)
def test_the_sdist_holds_what_a_packager_needs(name: str, archives: dict[str, Path]) -> None:
    with tarfile.open(archives["sdist"]) as archive:
        assert name in {member.partition("/")[2] for member in archive.getnames()}


PROOF = """
from importlib import import_module, resources
import clickmw
from clickmw.assets import read_asset
from clickmw.wording import templates
site = import_module("clickmw.pydocs_search.site")
print(clickmw.__file__)
print(len(read_asset("clickmw.js")), len(read_asset("report.css")))
print(len(templates().list_templates(extensions=["html"])))
print((resources.files("clickmw.pydocs_search") / "results.html").is_file())
"""


def make_environment(folder: Path) -> Path:
    """Return the Python of a fresh environment that sees this one's libraries, but not its clickmw."""
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    python = next(folder.glob("bin/python")) if os.name != "nt" else folder / "Scripts/python.exe"
    names = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    Path(names, "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def install(python: Path, *what: str | Path) -> None:
    run(
        *(sys.executable, "-m", "pip", "--python", python, "install", "--quiet"),
        *("--no-deps", "--no-index", "--no-build-isolation", "--ignore-installed", *what),
    )


@pytest.mark.parametrize("way", ["wheel", "sdist", "editable"])
def test_every_way_to_install_finds_code_assets_and_templates(
    way: str, source: Path, archives: dict[str, Path], tmp_path: Path
) -> None:
    python = make_environment(tmp_path / "env")
    install(python, *(("--editable", source) if way == "editable" else (archives[way],)))
    place, sizes, templates, example = run(python, "-c", PROOF, cwd=tmp_path).splitlines()
    home = source if way == "editable" else tmp_path / "env"
    assert Path(place).is_relative_to(home.resolve())
    assert [int(size) for size in sizes.split()] == [
        (CHECKOUT / "static" / name).stat().st_size for name in ("clickmw.js", "report.css")
    ]
    assert int(templates) == len(list((CHECKOUT / "clickmw/templates").glob("*.html")))
    assert example == "True"
    command = python.with_name("clickmw.exe" if os.name == "nt" else "clickmw")
    assert run(command, "--version", cwd=tmp_path).startswith("clickmw, version ")


def test_a_bare_checkout_finds_its_assets(source: Path, tmp_path: Path) -> None:
    python = make_environment(tmp_path / "env")
    read = "from clickmw.assets import read_asset; print(len(read_asset('clickmw.js')))"
    expected = (CHECKOUT / "static" / "clickmw.js").stat().st_size
    assert int(run(python, "-c", read, cwd=source)) == expected
