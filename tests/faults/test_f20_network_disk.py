"""F-20: database or journal lie on a network file system.

Doctor and set-up page say that SQLite's locks and log do not work there, or of a journal alone that answers wait for the
network, and what to do. Nothing is refused: the type of a mount is a hint, and a site must not fail
over it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clickmw import setting_up
from clickmw.setting_up import Mount, mount_of

#: Kind of store → why none of these tests runs on it.
NOT_ON = dict.fromkeys(
    ("postgresql", "clickhouse"),
    "what disks a server has it must know; the journal is looked at alike",
)

MOUNTS = """\
/dev/vda / ext4 rw,relatime 0 0
filer:/export /srv/shared nfs4 rw,vers=4.2 0 0
//nas/clicks /srv/my\\040clicks cifs rw 0 0
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [("/srv/shared/site", "nfs4"), ("/srv/my clicks", "cifs"), ("/srv/sharedness", "ext4")],
)
def test_f20_a_network_file_system_is_known_by_its_mount(
    folder: str, kind: str, tmp_path: Path
) -> None:
    (tmp_path / "mounts").write_text(MOUNTS)
    assert mount_of(Path(folder), tmp_path / "mounts") == Mount(kind, False)


@pytest.mark.parametrize("mounted", ["nfs", "nfs4", "cifs", "9p", "fuse.sshfs"])
def test_f20_doctor_says_what_is_wrong_with_it_and_the_site_works(
    mounted: str, site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setting_up, "mount_of", lambda folder: Mount(mounted, False))
    site.stands()
    assert f"is on {mounted}" in site.doctor()
    assert "use a local disk" in site.doctor()
