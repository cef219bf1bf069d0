"""The blocks of a result page that Search.gov names, and what a module code looks like."""

from __future__ import annotations

import re

#: Code → name shown in reports. Sites add their own in the ``modules`` setting.
#: Source: Search.gov's seed list and its later migrations.
MODULE_CODES: dict[str, str] = {
    "AIDOC": "Collections",
    "BBG": "Best Bets: Graphics",
    "BOOS": "Best Bets: Text",
    "BSPEL": "Spelling Suggestions (Bing)",
    "BWEB": "Web Results (Bing)",
    "FRDOC": "Federal Register Documents",
    "I14Y": "Web Results (Search.gov via i14y)",
    "IMAG": "Image Results (Bing)",
    "ISPEL": "I14y spelling override",
    "JOBS": "Jobs",
    "LOVER": "Spelling Overrides (Search.gov)",
    "MEDL": "Health Topics",
    "NEWS": "RSS Feeds",
    "NIMAG": "Image Results (MRSS)",
    "OASIS": "Image Results (Search.gov)",
    "OSPEL": "Spelling Suggestions (Search.gov Images)",
    "OVER": "Spelling Overrides (Bing/Google)",
    "QRTD": "Routed Queries",
    "SPEL": "Spelling Suggestions (Search.gov)",
    "SRCH": "Search Elastic",
    "SREL": "Related Searches",
    "VIDS": "Video Results (YouTube)",
}

_SHAPE = re.compile(r"[A-Za-z0-9_-]{1,32}")


def is_module_code(text: str) -> bool:
    """Tell whether *text* has the shape of a module code; it need not be a known one."""
    return _SHAPE.fullmatch(text) is not None
