"""F4: signing and verifying a link, beside the libraries that people would take."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

from itsdangerous import URLSafeSerializer

from benchmarks.rounds import Row, at_most, at_reference, interleaved, ratios, spread
from benchmarks.traffic import SECRET, link_targets
from clickmw.tokens import LinkSigner, LinkTarget

Way = tuple[Callable[[Any], Any], Callable[[Any], Any]]
LENGTHS = (80, 150, 300)
LIMITS_US = {"sign": 5, "verify": 8}
LIMITS = {"sign": 0.6, "verify": 0.75}


def run(quick: bool) -> list[Row]:
    """Return the rows of F4."""
    count, rounds = (1_000, 5) if quick else (5_000, 9)
    return [row for length in LENGTHS for row in at_length(length, count, rounds)]


def at_length(length: int, count: int, rounds: int) -> list[Row]:
    """Return the rows for targets of about *length* characters."""
    targets = link_targets(count, length)
    tasks: dict[str, Callable[[], object]] = {}
    for name, (sign, verify) in ways().items():
        tasks[f"{name}: sign"] = partial(each, sign, targets)
        tasks[f"{name}: verify"] = partial(each, verify, [sign(target) for target in targets])
    taken = interleaved(tasks, rounds=rounds, per=dict.fromkeys(tasks, count))
    return [row for step in ("sign", "verify") for row in _rows(taken, step, length)]


def _rows(taken: dict[str, list[float]], step: str, length: int) -> list[Row]:
    ours = taken[f"clickmw: {step}"]
    took, most = at_reference(taken, f"clickmw: {step}"), LIMITS_US[step]
    what = f"{step} a link to {length} characters"
    rows = []
    if length == LENGTHS[0]:
        measured = f"{spread(ours)} µs; at reference speed {took}"
        rows.append(Row("F4", what, "", measured, f"≤ {most} µs", at_most(took, most)))
    for peer, limit in (("itsdangerous", LIMITS[step]), ("pytracking", None)):
        theirs = taken.get(f"{peer}: {step}")
        if theirs is None:
            rows.append(Row("F4", what, f"{peer}: not installed", "", "–", "–"))
            continue
        ratio = ratios(ours, theirs)
        verdict = at_most(ratio, limit) if limit else "–"
        wanted = f"≤ {limit} ×" if limit else "–"
        rows.append(
            Row("F4", what, f"{PEERS[peer]}: {spread(theirs)} µs", f"{ratio} ×", wanted, verdict)
        )
    return rows


PEERS = {
    "itsdangerous": "itsdangerous URLSafeSerializer",
    "pytracking": "pytracking, unsigned",
}


def each(step: Callable[[Any], Any], values: list[Any]) -> None:
    """Do *step* with each of *values*."""
    for value in values:
        step(value)


def ways() -> dict[str, Way]:
    """Return name → how to sign and how to verify; peers that are not installed are left out."""
    signer = LinkSigner(SECRET)
    serializer = URLSafeSerializer(SECRET)
    found: dict[str, Way] = {
        "clickmw": (signer.sign_link, signer.read_link),
        "itsdangerous": (lambda target: serializer.dumps(as_dict(target)), serializer.loads),
    }
    try:
        pytracking: Any = importlib.import_module("pytracking")
    except ImportError:
        return found
    base = "https://search.example/"
    kept = {"base_click_tracking_url": base}

    def sign(target: LinkTarget) -> Any:
        return pytracking.get_click_tracking_url(target.location, as_dict(target), **kept)

    found["pytracking"] = (sign, partial(pytracking.get_click_tracking_result, **kept))
    pytracked = sign(link_targets(1)[0])
    path = pytracked.removeprefix(base)
    assert pytracking.get_click_tracking_result(path, **kept).tracked_url
    found["pytracking"] = (
        sign,
        lambda url: pytracking.get_click_tracking_result(url.removeprefix(base), **kept),
    )
    return found


def as_dict(target: LinkTarget) -> dict[str, Any]:
    """Return what the peers remember: the same as we do."""
    return {
        "site": target.site,
        "query_id": target.query_id,
        "position": target.position,
        "module": target.module_code,
        "url": target.location,
    }
