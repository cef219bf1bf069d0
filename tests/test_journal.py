"""The journal: what write() has said True to can be read again, whatever happens to the disk."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickmw import journal as journal_module
from clickmw.events import Click, Event, Search, Shown, decode_event, encode_events
from clickmw.journal import (
    Journal,
    event_id_prefix,
    is_sealed,
    read_header,
    read_records,
    segment_paths,
    tail,
)
from clickmw.stores.base import Record

pytestmark = pytest.mark.skipif(os.name != "posix", reason="segments are locked on POSIX only")

CLICK = Click(1_750_000_000_000, "default", "https://example.org/a", 3, "BWEB")


def clicks(count: int) -> list[Click]:
    return [CLICK._replace(url=f"https://example.org/{number}") for number in range(count)]


def read(path: Path, start: int = 0, *, sealed: bool = False) -> list[Record]:
    return read_records(path, start, most=1_000_000, sealed=sealed)


def urls(records: list[Record]) -> list[str]:
    return [stored.event.url for record in records for stored in record.events]


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


def plain(event: Event) -> Event:
    """Return *event* with its impressions as they were before they were written."""
    if not isinstance(event, Search):
        return event
    return event._replace(impressions=tuple(Shown(*row) for row in event.impressions))


def segment_of(journal: Journal) -> Path:
    (path,) = segment_paths(journal.folder)
    return path


# -- format --------------------------------------------------------------------------------------


def test_a_segment_is_named_by_its_time_and_40_random_bits(journal: Journal) -> None:
    journal.write((CLICK,))
    assert re.fullmatch(r"\d{13}-[0-9a-f]{10}\.clicks", segment_of(journal).name)


def test_a_segment_begins_with_a_header(journal: Journal) -> None:
    journal.write((CLICK,))
    path = segment_of(journal)
    header = read_header(path)
    created_ms = int(path.stem.partition("-")[0])
    assert (header["v"], header["pid"], header["created_ms"]) == (1, os.getpid(), created_ms)


def test_a_record_is_a_line_of_checksum_running_count_and_json(journal: Journal) -> None:
    journal.write((CLICK,))
    journal.write((CLICK, CLICK))
    line = segment_of(journal).read_bytes().splitlines(keepends=True)[2]
    checksum, running, count, body = line.split(b" ", 3)
    assert (int(checksum, 16), running, count) == (crc32(line[9:]), b"3", b"2")
    assert len(json.loads(body)) == 2


def test_a_record_holds_what_was_written(journal: Journal) -> None:
    search = Search(5, "s", "AZdz2LAAAAAAAAAB", "a ü \n b", (Shown("/x", 1, "B", "d", "t"),), 7)
    click = CLICK._replace(view_id="AZdz2LAAAAAAAAAB", position_raw="one")
    journal.write((search, click, CLICK))
    *_, record = read(segment_of(journal))
    assert [plain(stored.event) for stored in record.events] == [search, click, CLICK]


TEXT = st.text(st.characters(), max_size=20)


@given(url=TEXT, title=TEXT, position=st.none() | st.integers(), query=TEXT)
def test_any_event_comes_back_as_it_was(
    url: str, title: str, position: int | None, query: str
) -> None:
    click = CLICK._replace(url=url, title=title, position=position)
    search = Search(1, "s", "q", query, (Shown(url, 1, "B", title=title),))
    line = encode_events((click, search))
    assert line.isascii()
    assert "\n" not in line
    assert [plain(decode_event(row)) for row in json.loads(line)] == [click, search]


def test_an_older_record_with_fewer_fields_is_read(tmp_path: Path) -> None:
    assert decode_event(["c", 5, "default", "/a"]) == Click(5, "default", "/a")


def test_a_newer_record_with_more_fields_is_read() -> None:
    assert decode_event(["c", *CLICK, "a field of tomorrow"]) == CLICK


def test_folder_and_segments_belong_to_us_alone(journal: Journal) -> None:
    old = os.umask(0)
    try:
        journal.write((CLICK,))
    finally:
        os.umask(old)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (journal.folder, segment_of(journal))]
    assert modes == [0o700, 0o600]


def test_a_record_is_one_write(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    journal.write((CLICK,))
    written: list[bytes] = []
    real = os.write
    monkeypatch.setattr(os, "write", lambda file, data: written.append(data) or real(file, data))
    journal.write(tuple(clicks(10)))
    assert [data.count(b"\n") for data in written] == [1]


# -- ids -----------------------------------------------------------------------------------------


def test_event_ids_are_unique_and_in_order(journal: Journal) -> None:
    for number in range(20):
        journal.write(tuple(clicks(number % 4 + 1)))
    ids = [stored.event_id for record in read(segment_of(journal)) for stored in record.events]
    assert ids == sorted(set(ids))
    assert {len(event_id) for event_id in ids} == {16}


def test_event_ids_are_the_same_on_every_replay(journal: Journal) -> None:
    for _ in range(5):
        journal.write((CLICK, CLICK))
    whole = read(segment_of(journal))
    in_parts = [record for one in whole for record in read(segment_of(journal), one.start)[:1]]
    assert in_parts == whole


def test_an_event_id_says_time_random_part_offset_and_index(journal: Journal) -> None:
    journal.write((CLICK, CLICK))
    path = segment_of(journal)
    record = read(path)[1]
    expected = event_id_prefix(path.stem) + record.start.to_bytes(4) + b"\x01"
    assert record.events[1].event_id == expected


def test_more_events_than_a_record_has_ids_for_are_all_kept(journal: Journal) -> None:
    assert journal.write(tuple(clicks(600)))
    records = read(segment_of(journal))
    assert urls(records) == [click.url for click in clicks(600)]
    assert len({stored.event_id for record in records for stored in record.events}) == 600


def test_threads_share_a_segment(journal: Journal) -> None:
    def write() -> None:
        for _ in range(200):
            journal.write((CLICK,))

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records = read(segment_of(journal))
    assert len(urls(records)) == records[-1].running == 800


# -- what cannot be written down -----------------------------------------------------------------


def test_an_event_that_is_not_json_is_counted_as_dropped(journal: Journal) -> None:
    assert not journal.write((CLICK._replace(position=object()),))  # type: ignore[arg-type]
    assert journal.pending_tallies() == {"dropped.unwritable": 1}
    assert journal.write((CLICK,))


# -- tallies -------------------------------------------------------------------------------------


def test_tallies_are_a_record_of_their_own(journal: Journal) -> None:
    journal.tally("opted_out", 2)
    journal.tally("rejected.bad_link")
    journal.tally("dropped.rate")
    journal.write_tallies()
    _, record = read(segment_of(journal))
    assert record.tallies == {"opted_out": 2, "rejected.bad_link": 1, "dropped.rate": 1}
    assert record.running == 3  # what was rejected never was an event


def test_without_tallies_nothing_is_written(journal: Journal) -> None:
    assert journal.write_tallies()
    assert segment_paths(journal.folder) == []


def test_closing_writes_the_tallies(journal: Journal) -> None:
    journal.tally("prefetch")
    journal.close()
    assert read(segment_of(journal))[-1].tallies == {"prefetch": 1}


# -- damage --------------------------------------------------------------------------------------


def damage(path: Path, line: int, *, at: int = 20) -> None:
    """Change one byte of a line, which is no line end."""
    lines = path.read_bytes().splitlines(keepends=True)
    changed = bytearray(lines[line])
    changed[at] ^= 0x04
    lines[line] = bytes(changed)
    path.write_bytes(b"".join(lines))


@pytest.mark.parametrize("at", [0, 7, 8, 9, 11, 30], ids=lambda at: f"byte-{at}")
def test_a_damaged_record_is_skipped_and_torn(journal: Journal, at: int) -> None:
    for click in clicks(4):
        journal.write((click,))
    path = segment_of(journal)
    damage(path, 2, at=at)
    records = read(path)
    assert [record.torn for record in records] == [False, False, True, False, False]
    assert urls(records) == [clicks(4)[n].url for n in (0, 2, 3)]


@pytest.mark.parametrize("at", [0, 7, 8, 9, 11, 30], ids=lambda at: f"byte-{at}")
def test_the_count_of_what_waits_survives_damage(journal: Journal, at: int) -> None:
    for click in clicks(4):
        journal.write((click,))
    path = segment_of(journal)
    damage(path, 2, at=at)
    found = tail(path, 0)
    assert (found.running, found.pending) == (4, 4)  # what will be torn is not lost yet


def test_a_damaged_line_end_tears_two_records(journal: Journal) -> None:
    for click in clicks(4):
        journal.write((click,))
    path = segment_of(journal)
    damage(path, 1, at=-1)
    records = read(path)
    assert urls(records) == [clicks(4)[n].url for n in (2, 3)]
    assert [record.running for record in records if not record.torn] == [0, 3, 4]


@given(noise=st.binary(max_size=60), line=st.integers(0, 4))
def test_any_noise_between_records_costs_no_other_record(noise: bytes, line: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder))
        for click in clicks(4):
            journal.write((click,))
        path = segment_of(journal)
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join([*lines[: line + 1], noise, b"\n", *lines[line + 1 :]]))
        assert urls(read(path)) == [click.url for click in clicks(4)]
        assert tail(path, 0).pending == 4
        journal.close()


@given(
    noise=st.lists(st.tuples(st.integers(0, 40), st.binary(max_size=30)), max_size=4),
    start=st.integers(0, 40),
)
def test_the_tail_is_the_last_whole_record_past_an_offset(
    noise: list[tuple[int, bytes]], start: int
) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder))
        for number in range(40):
            journal.write((CLICK,) * (number % 3 + 1))
        path = segment_of(journal)
        lines = path.read_bytes().splitlines(keepends=True)
        for place, text in noise:
            lines.insert(place, text)
        path.write_bytes(b"".join(lines))
        whole = [record for record in read(path, sealed=True) if not record.torn]
        begin = whole[min(start, len(whole) - 1)]
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(journal_module, "TAIL_BYTES", 100)
            found = tail(path, begin.end, begin.running)
        last = whole[-1]
        assert found == (last.end, last.running, last.running - begin.running)
        journal.close()


def test_a_torn_tail_waits_while_its_writer_lives(journal: Journal) -> None:
    journal.write((CLICK,))
    path = segment_of(journal)
    with path.open("ab") as file:
        file.write(b'00000000 2 1 [["c",')
    assert len(read(path, sealed=is_sealed(path))) == 2
    journal.close()
    assert [record.torn for record in read(path, sealed=is_sealed(path))] == [False, False, True]


def test_reading_stops_after_the_events_asked_for(journal: Journal) -> None:
    for _ in range(10):
        journal.write((CLICK, CLICK))
    records = read_records(segment_of(journal), 0, most=4, sealed=False)
    assert sum(len(record.events) for record in records) == 4


# -- segments ------------------------------------------------------------------------------------


def test_a_segment_is_sealed_when_its_writer_has_closed_it(journal: Journal) -> None:
    journal.write((CLICK,))
    path = segment_of(journal)
    assert not is_sealed(path)
    journal.close()
    assert is_sealed(path)


def test_a_segment_of_a_living_process_is_not_sealed(
    journal: Journal, run_python: Callable[..., Any]
) -> None:
    other = run_python(WRITER, journal.folder, stdin=subprocess.PIPE)
    assert other.stdout.readline() == "written\n"
    path = segment_of(journal)
    assert not is_sealed(path)
    other.kill()
    other.wait()
    assert is_sealed(path)


@pytest.mark.skipif(os.name != "posix", reason="locks of files are POSIX")
def test_a_segment_on_a_network_disk_is_sealed_when_its_writer_has_closed_it(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    flock = fcntl.flock

    def over_nfs(file: int, operation: int) -> None:
        # As flock(2) says of NFS: an exclusive lock needs a file that is open for writing, a shared one for reading.
        mode = fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE
        if mode == (os.O_RDONLY if operation & fcntl.LOCK_EX else os.O_WRONLY):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", over_nfs)
    journal.write((CLICK,))
    path = segment_of(journal)
    journal_module._live_here.clear()  # as another process sees it
    assert not is_sealed(path)
    journal.close()
    assert is_sealed(path)


def test_a_segment_that_is_just_being_made_is_not_sealed(journal: Journal) -> None:
    journal.folder.mkdir()
    path = journal.folder / "1750000000000-00000000aa.clicks"
    path.touch()
    assert not is_sealed(path)
    os.utime(path, (0, 0))
    assert is_sealed(path)


def test_other_files_in_the_folder_are_no_segments(journal: Journal) -> None:
    journal.write((CLICK,))
    for name in ("notes.clicks", ".clicks", "5-zz.clicks", "1750000000000-00000000aa.clicks~"):
        (journal.folder / name).write_text("mine")
    segment_of(journal)


def test_a_full_segment_is_followed_by_a_new_one(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "SEGMENT_BYTES", 1000)
    for click in clicks(50):
        journal.write((click,))
    paths = segment_paths(journal.folder)
    assert len(paths) > 3
    assert sorted(url for path in paths for url in urls(read(path))) == sorted(
        click.url for click in clicks(50)
    )
    assert [is_sealed(path) for path in paths].count(False) == 1


def test_an_old_segment_is_followed_by_a_new_one(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "SEGMENT_AGE_S", 0.0)
    journal.write((CLICK,))
    journal.write((CLICK,))
    assert len(segment_paths(journal.folder)) == 2


WRITER = """
import sys
from pathlib import Path
from clickmw.events import Click
from clickmw.journal import Journal
journal = Journal(Path(sys.argv[1]))
journal.write((Click(1, "default", "/from-another-process"),))
print("written", flush=True)
sys.stdin.read()
"""


def test_a_journal_whose_folder_was_removed_begins_anew(
    journal: Journal, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "_warned", {})
    journal.write((CLICK,))
    segment_of(journal).unlink()
    journal.folder.rmdir()
    journal.write_tallies()  # as the worker does several times a second
    assert journal.write((CLICK,))
    assert urls(read(segment_of(journal))) == [CLICK.url]
    assert "was removed" in caplog.text


# -- the size cap --------------------------------------------------------------------------------


def test_above_the_size_cap_every_event_is_counted_as_dropped(tmp_path: Path) -> None:
    journal = Journal(tmp_path, max_bytes=20_000)
    written = sum(journal.write((click,)) for click in clicks(500))
    assert 0 < written < 500
    assert journal.pending_tallies() == {"dropped.journal_full": 500 - written}
    assert sum(path.stat().st_size for path in segment_paths(tmp_path)) <= 20_000


def test_the_size_cap_counts_the_segments_of_all(tmp_path: Path) -> None:
    (tmp_path / "1750000000000-00000000aa.clicks").write_bytes(b"x" * 20_000)
    journal = Journal(tmp_path, max_bytes=20_000)
    assert not journal.write((CLICK,))


def test_a_segment_that_the_drain_has_just_removed_costs_no_event(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed = journal.folder / "1750000000000-00000000aa.clicks"
    monkeypatch.setattr(journal_module, "segment_paths", lambda folder: [removed])
    assert journal.write((CLICK,))


def test_the_journal_takes_events_again_when_the_drain_has_made_room(tmp_path: Path) -> None:
    other = tmp_path / "1750000000000-00000000aa.clicks"
    other.write_bytes(b"x" * 20_000)
    journal = Journal(tmp_path, max_bytes=20_000)
    assert not journal.write((CLICK,))
    other.unlink()
    assert _within(30.0, lambda: journal.write((CLICK,)))


def test_a_small_journal_leaves_full_segments_to_the_drain(tmp_path: Path) -> None:
    journal = Journal(tmp_path, max_bytes=40_000)
    for click in clicks(500):
        journal.write((click,))
    for path in segment_paths(tmp_path):
        if is_sealed(path):
            path.unlink()  # as the drain does
    assert _within(30.0, lambda: journal.write((CLICK,)))


def _within(seconds: float, happens: Callable[[], bool]) -> bool:
    import time

    end = time.monotonic() + seconds
    while not (happened := happens()) and time.monotonic() < end:
        time.sleep(0.05)
    return happened


# -- a disk that refuses -------------------------------------------------------------------------

FILE_LIMIT = """
import resource, sys
from pathlib import Path
from clickmw.events import Click
from clickmw.journal import Journal
journal = Journal(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
answers = [journal.write((Click(n, "default", f"/{n}"),)) for n in range(100)]
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
answers.append(journal.write((Click(100, "default", "/100"),)))
print(*map(int, answers), journal.pending_tallies().get("dropped.disk_full", 0))
"""


@pytest.mark.parametrize("limit", [0, 50, 1000, 1001, 1017])
def test_a_write_that_does_not_fit_leaves_nothing_behind(
    limit: int, tmp_path: Path, run_python: Callable[..., Any]
) -> None:
    folder = tmp_path / "journal"
    output = run_python(FILE_LIMIT, folder, limit).communicate(timeout=120)[0]
    *answers, dropped = map(int, output.split())
    written = [f"/{number}" for number, answer in enumerate(answers) if answer]
    found = [read(path, sealed=True) for path in segment_paths(folder)]
    assert answers[-1] == 1
    assert dropped == answers.count(0)
    assert [url for records in found for url in urls(records)] == written
    assert not any(record.torn for records in found for record in records)
    assert all(read_header(path)["v"] == 1 for path in segment_paths(folder))


def test_a_folder_that_cannot_be_made_refuses_events_and_counts_them(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    journal = Journal(tmp_path / "file" / "journal")
    assert not journal.write((CLICK, CLICK))
    assert sum(journal.pending_tallies().values()) == 2
    assert journal.refused


def test_tallies_survive_a_disk_that_refuses_them(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    journal = Journal(tmp_path / "file" / "journal")
    journal.tally("opted_out", 3)
    assert not journal.write_tallies()
    assert journal.pending_tallies() == {"opted_out": 3}


# -- forks ---------------------------------------------------------------------------------------

FORK = """
import os, sys
from pathlib import Path
from clickmw.events import Click
from clickmw.journal import Journal, is_sealed, segment_paths
journal = Journal(Path(sys.argv[1]))
journal.write((Click(1, "default", "/parent"),))
journal.tally("opted_out")
(first,) = segment_paths(journal.folder)
ready, done = os.pipe(), os.pipe()
if os.fork() == 0:
    assert journal.pending_tallies() == {}
    journal.write((Click(2, "default", "/child"),))
    os.write(ready[1], b"x")
    os.read(done[0], 1)
    os._exit(0)
os.read(ready[0], 1)
journal.write((Click(3, "default", "/parent"),))
print(len(segment_paths(journal.folder)), is_sealed(first), end=" ")
journal.close()
print(is_sealed(first), sum(map(is_sealed, segment_paths(journal.folder))), flush=True)
os.write(done[1], b"x")
os.wait()
"""


def test_a_forked_child_gets_its_own_segment_and_keeps_no_lock_of_its_parent(
    tmp_path: Path, run_python: Callable[..., Any]
) -> None:
    output = run_python(FORK, tmp_path / "journal").communicate(timeout=120)[0]
    assert output.split() == ["2", "False", "True", "1"]
    found = sorted(urls(read(path)) for path in segment_paths(tmp_path / "journal"))
    assert found == [["/child"], ["/parent", "/parent"]]


def test_a_child_that_is_not_ours_keeps_no_segment_alive(journal: Journal) -> None:
    journal.write((CLICK,))
    sleeper = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        journal.close()
        assert is_sealed(segment_of(journal))
    finally:
        sleeper.communicate(b"\n")


@pytest.mark.parametrize("position", [1, None, True, 2.5, "7"], ids=repr)
def test_a_single_click_is_written_as_the_encoder_writes_it(position: Any) -> None:
    click = Click(1, "default", 'https://example.org/"\\é\u2028\x7f', position, user_activated=1)
    text = encode_events((click,))
    assert text == json.dumps([["c", *click[:15]]], separators=(",", ":"))
    assert decode_event(json.loads(text)[0]) == click
