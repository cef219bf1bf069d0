"""What several hosts of one store must agree on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

#: A host that has not been heard of for so long is gone; its settings no longer count.
SILENT_MS = 86_400_000
#: A salt is destroyed when its day is more than so many days ago, as on every host.
SALT_DAYS = 2
#: How often a host that drains says that it is there.
SAID_EVERY_S = 60.0


def disagreements(hosts: Iterable[tuple[str, Mapping[str, str]]]) -> Iterator[str]:
    """Yield a sentence for each setting of *hosts* (name, settings) that has several values."""
    values: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for host, settings in hosts:
        for name, value in settings.items():
            values[name][value].append(host)
    for name, hosts_by_value in sorted(values.items()):
        if len(hosts_by_value) > 1:
            said = "; ".join(
                f"{value} on {', '.join(names)}" for value, names in sorted(hosts_by_value.items())
            )
            yield f"the hosts of this store differ in {name}: {said}"
