"""The journal's form of events: what goes in comes out, also from a journal of yesterday."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickmw.errors import BadEvent
from clickmw.events import (
    Answer,
    Click,
    Conversion,
    Event,
    Feedback,
    Impression,
    Return,
    Search,
    Seen,
    Shown,
    View,
    decode_event,
    encode_events,
)

FINITE = st.none() | st.floats(allow_nan=False, allow_infinity=False)
#: Fields whose type alone would allow what no event has.
OWN: dict[str, st.SearchStrategy[Any]] = {"value": FINITE, "dwell_s": st.floats(0, 86_400)}
TYPES: tuple[type[Any], ...] = (
    *(Click, Search, Impression, View, Seen, Return, Feedback, Answer, Conversion),
)


def events(kind: type[Any]) -> st.SearchStrategy[Event]:
    fields = {name: OWN.get(name, ...) for name in kind._fields}
    return st.builds(kind, **fields)


def read(line: str) -> list[Event]:
    return [decode_event(row) for row in json.loads(line)]


@pytest.mark.parametrize("kind", TYPES)
@given(st.data())
def test_an_event_comes_out_of_the_journal_as_it_went_in(
    kind: type[Any], data: st.DataObject
) -> None:
    event = data.draw(events(kind))
    found = read(encode_events((event,)))

    assert found == [event]
    assert type(found[0]) is kind


@given(st.lists(st.one_of(*map(events, TYPES)), max_size=5))
def test_so_do_all_events_of_a_record_in_their_order(several: list[Event]) -> None:
    assert read(encode_events(tuple(several))) == several


@pytest.mark.parametrize("kind", TYPES)
@given(st.data())
def test_what_an_older_clickmw_did_not_write_has_its_default(
    kind: type[Any], data: st.DataObject
) -> None:
    event = data.draw(events(kind))
    kept = data.draw(st.integers(len(kind._fields) - len(kind._field_defaults), len(event)))
    [row] = json.loads(encode_events((event,)))

    assert decode_event(row[: kept + 1]) == kind(*event[:kept])


@pytest.mark.parametrize("kind", TYPES)
@given(st.data())
def test_what_a_younger_clickmw_adds_is_left_out(kind: type[Any], data: st.DataObject) -> None:
    event = data.draw(events(kind))
    [row] = json.loads(encode_events((event,)))
    row = [*row, *event[len(row) - 1 :]]  # of a click the defaults are not written

    assert decode_event([*row, "of tomorrow", 7]) == event


OLD_ROWS: dict[str, tuple[str, Event]] = {
    "click": (
        '["c",5,"default","/a",3,"BWEB","AZdz2LAAAAAAAAAB","","0123456789abcdef"]',
        Click(5, "default", "/a", 3, "BWEB", "AZdz2LAAAAAAAAAB", "", "0123456789abcdef"),
    ),
    "click of a sender": (
        '["c",5,"s","/a",3,"","","","","","","","x","keyed","",null,"ad","","q","","","","","ad-1",'
        '"","","00000000000000ff"]',
        Click(
            *(5, "s", "/a", 3),
            source="x",
            trust="keyed",
            kind="ad",
            query="q",
            ad_id="ad-1",
            dedupe_key="00000000000000ff",
        ),
    ),
    "search": (
        '["s",5,"default","AZdz2LAAAAAAAAAB","tax",[["/a",1,"BWEB","",""]],7]',
        Search(5, "default", "AZdz2LAAAAAAAAAB", "tax", (Shown("/a", 1, "BWEB"),), 7),
    ),
    "view": (
        '["v",5,"default","AZdz2LAAAAAAAAAB","AZdz2LAAAAAAAAAC"]',
        View(5, "default", "AZdz2LAAAAAAAAAB", "AZdz2LAAAAAAAAAC"),
    ),
    "seen": (
        '["n",5,"default","AZdz2LAAAAAAAAAB","",[["BWEB",1],["",2]]]',
        Seen(5, "default", "AZdz2LAAAAAAAAAB", "", (("BWEB", 1), ("", 2))),
    ),
    "return": (
        '["r",5,"default","AZdz2LAAAAAAAAAB","","/a","",3,"BWEB",12.5]',
        Return(5, "default", "AZdz2LAAAAAAAAAB", "", "/a", "", 3, "BWEB", 12.5),
    ),
}


@pytest.mark.parametrize(("row", "event"), OLD_ROWS.values(), ids=OLD_ROWS)
def test_a_row_means_what_it_always_meant(row: str, event: Event) -> None:
    assert decode_event(json.loads(row)) == event


@pytest.mark.parametrize(
    ("event", "letter"),
    [
        (Seen(5, "default", "AZdz2LAAAAAAAAAB"), "n"),
        (Return(5, "default", "AZdz2LAAAAAAAAAB"), "r"),
    ],
)
def test_its_letter_says_what_an_event_is(event: Event, letter: str) -> None:
    assert json.loads(encode_events((event,)))[0][0] == letter


def test_an_event_of_tomorrow_is_refused() -> None:
    with pytest.raises(BadEvent, match="upgrade clickmw"):
        decode_event(["z", 5, "default"])


@pytest.mark.parametrize("kind", [Click, Search, Impression, Feedback, Answer, Conversion, Return])
def test_the_browsers_own_id_is_the_last_field(kind: type[Any]) -> None:
    assert kind._fields[-1] == "client_id"
    assert kind._field_defaults["client_id"] == ""
