"""Fuzz one harness, guided by coverage: ``python tests/fuzzing/fuzz.py token -max_total_time=60 -seed=1``.

Needs atheris (``pip install -e ".[fuzz]"``). What follows the name are options of libFuzzer; what it
found worth keeping lies in ``.fuzz/<name>``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(Path(__file__).resolve().parent))

with atheris.instrument_imports(include=["clickmw"]):
    from harnesses import HARNESSES, SEEDS


def main() -> None:
    name = sys.argv[1]
    corpus = CHECKOUT / ".fuzz" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS[name]):
        (corpus / f"seed{number}").write_bytes(seed)
    atheris.Setup(
        [sys.argv[0], *sys.argv[2:], f"-artifact_prefix={corpus.parent}/", str(corpus)],
        HARNESSES[name],
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
