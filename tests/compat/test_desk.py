"""The desk: who a sender is, what is made of what it says, and how often it may come."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from clickmw import ClickMW
from clickmw.compat import BURST_S, SENDER_FACTOR, Desk, Protocol, Sender, find_protocols
from clickmw.events import (
    Answer,
    Click,
    Conversion,
    Event,
    Feedback,
    Impression,
    Shown,
    new_query_id,
)
from clickmw.journal import read_records, segment_paths
from clickmw.recorder import now_ms
from clickmw.sites import Site
from clickmw.tokens import LinkSigner, LinkTarget

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
SITES = [
    {"handle": "shop", "hosts": ["www.shop.example", "shop.example"]},
    {"handle": "other", "hosts": ["other.example"]},
]
Environ = dict[str, Any]


def request(**changes: str) -> Environ:
    """Return the environ of a server that reports for its visitors; keywords are headers."""
    return {"REMOTE_ADDR": "203.0.113.5", "HTTP_USER_AGENT": "curl/8.5.0", **changes}


class Counter:
    """A desk, and what lies in the journal behind it."""

    def __init__(self, clicks: ClickMW) -> None:
        door = clicks.door
        # Nobody drains until it is asked for: tallies stay where they are counted.
        door.worker.has_threads, door.worker.drain.last_pass = False, float("inf")
        self.door = door
        self.desk = Desk(
            door.settings, door.recorder, door.signer, door.routes.open_reader, door.routes.today
        )
        site = door.settings.sites.by_handle("shop")
        assert site
        self.site: Site = site

    def sender(self, environ: Environ | None = None, **given: Any) -> Sender:
        site = given.pop("site", self.site)
        found = self.desk.sender(environ or request(), "searchstax", site, **given)
        assert found
        return found

    def click(self, sender: Sender | None = None, /, **given: Any) -> Click:
        said = {"url": "https://a.example/1", "query": "tax form", **given}
        return self.desk.click(sender or self.sender(who="u1"), **said)

    def kept(self) -> list[Event]:
        """Return the events of the journal."""
        found: list[Event] = []
        for path in segment_paths(self.door.journal.folder):
            for record in read_records(path, 0, most=1000, sealed=True):
                found += [stored.event for stored in record.events]
        return found

    def tallies(self) -> dict[str, int]:
        return self.door.journal.pending_tallies()

    def link(self, site: str = "shop", location: str = "https://a.example/1", **given: Any) -> str:
        query_id = given.get("query_id") or new_query_id(now_ms())
        target = LinkTarget(site, query_id, 3, "BWEB", "item-7", location)
        return "https://www.shop.example/_clicks/r/" + self.door.signer.sign_link(target)


Make = Callable[..., Counter]


@pytest.fixture
def counter_with(clicks_at: Callable[..., ClickMW]) -> Make:
    def make(**settings: Any) -> Counter:
        return Counter(clicks_at(**{"sites": SITES, **settings}))

    return make


@pytest.fixture
def counter(counter_with: Make) -> Counter:
    return counter_with()


# -- who is it -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("agent", "robot"),
    [
        ("curl/8.5.0", ""),
        ("okhttp/4.12.0", ""),
        ("python-requests/2.32", ""),
        ("axios/1.7.2", ""),
        ("", ""),
        (FIREFOX, ""),
        (GOOGLEBOT, "googlebot"),
        ("GPTBot/1.2", "openai"),
        ("HeadlessChrome/120", "headless"),
    ],
)
def test_only_crawlers_that_say_so_are_robots(agent: str, robot: str, counter: Counter) -> None:
    sender = counter.sender(request(HTTP_USER_AGENT=agent))
    assert (sender.robot, sender.drop_reason) == (robot, "robot" if robot else "")


@pytest.mark.parametrize(
    ("count_trust", "trust", "reason"),
    [
        (["signed", "keyed"], "keyed", ""),
        (["signed", "keyed"], "anonymous", "trust"),
        (["signed"], "keyed", "trust"),
        (["signed", "anonymous"], "anonymous", ""),
    ],
)
def test_what_the_site_does_not_trust_is_kept_and_not_counted(
    count_trust: list[str], trust: str, reason: str, counter_with: Make
) -> None:
    counter = counter_with(count_trust=count_trust)
    sender = counter.sender(trust=trust)
    assert counter.desk.record(counter.click(sender))
    (click,) = counter.kept()
    assert isinstance(click, Click)
    assert (click.trust, click.drop_reason) == (trust, reason)


def test_a_crawler_is_a_robot_before_anything_else(counter_with: Make) -> None:
    counter = counter_with(count_trust=["signed"])
    assert counter.sender(request(HTTP_USER_AGENT=GOOGLEBOT)).drop_reason == "robot"


@pytest.mark.parametrize("header", ["HTTP_SEC_GPC", "HTTP_DNT"])
def test_of_who_opted_out_nothing_is_kept_but_a_number(header: str, counter: Counter) -> None:
    sender = counter.desk.sender(request(**{header: "1"}), "searchstax", counter.site, who="u1")
    assert (sender, counter.kept(), counter.tallies()) == (None, [], {"opted_out": 1})


def test_who_is_kept_anonymously_leaves_no_visitor_session_or_key(counter_with: Make) -> None:
    counter = counter_with(optout="anonymous")
    environ = request(HTTP_SEC_GPC="1", HTTP_USER_AGENT=FIREFOX)
    sender = counter.sender(environ, who="u1", session="s1")
    click = counter.click(sender)
    joined = counter.click(sender, url=counter.link())
    assert (click.visitor, click.session, click.dedupe_key) == ("", "", "")
    assert (joined.visitor, joined.session) == ("", "")


def test_who_ignores_wishes_counts_everybody(counter_with: Make) -> None:
    counter = counter_with(optout="ignore")
    assert counter.sender(request(HTTP_SEC_GPC="1"), who="u1").visitor


def test_people_behind_one_server_are_told_apart_by_what_it_calls_them(counter: Counter) -> None:
    visitors = [counter.sender(who=who).visitor for who in ("u1", "u2", "u1")]
    assert visitors[0] == visitors[2] != visitors[1]
    assert len(visitors[0]) == 16


def test_a_name_is_another_visitor_on_another_site(counter: Counter) -> None:
    other = counter.door.settings.sites.by_handle("other")
    assert counter.sender(who="u1").visitor != counter.sender(who="u1", site=other).visitor


def test_a_session_stands_in_for_who_is_not_named(counter: Counter) -> None:
    by_session = counter.sender(session="s1")
    assert by_session.who == "s1"
    assert by_session.visitor == counter.sender(who="s1").visitor
    assert counter.sender(who="u1", session="s1").visitor != by_session.visitor


def test_who_is_never_named_is_nobody(counter: Counter) -> None:
    sender = counter.sender()
    assert (sender.who, sender.visitor, sender.session) == ("", "", "")


def test_where_visitors_are_not_told_apart_names_are_not_either(counter_with: Make) -> None:
    assert counter_with(visitor="none").sender(who="u1").visitor == ""


def test_no_name_reaches_the_journal(counter: Counter) -> None:
    counter.desk.record(counter.click(counter.sender(who="jane.doe", session="s1")))
    kept = b"".join(path.read_bytes() for path in segment_paths(counter.door.journal.folder))
    assert b"jane" not in kept
    assert b'"s1"' in kept


@pytest.mark.parametrize(
    ("given", "kept"),
    [("s" * 65, "s" * 64), ("s" * 64, "s" * 64), ("a\0b\n", "a b"), (" a b ", " a b "), ("", "")],
    ids=["too long", "long", "controls", "blanks", "none"],
)
def test_a_session_is_cut_and_cleaned(given: str, kept: str, counter: Counter) -> None:
    assert counter.sender(session=given).session == kept


def test_two_long_sessions_with_one_beginning_are_two(counter: Counter) -> None:
    long = ["s" * 64 + "a", "s" * 64 + "b"]
    assert len({counter.sender(session=each).visitor for each in long}) == 2


@pytest.mark.parametrize(
    ("referrer", "host"),
    [
        ("https://portal.example/x", "portal.example"),
        ("https://www.shop.example/search?q=tax", ""),
        ("https://Shop.Example:8443/", ""),
        ("", ""),
        ("nonsense", ""),
        ("https://" + "x" * 400 + ".example/", "x" * 255),
    ],
    ids=["another site", "own page", "own page with port", "none", "no URL", "too long"],
)
def test_of_the_referring_page_only_a_foreign_host_is_kept(
    referrer: str, host: str, counter: Counter
) -> None:
    assert counter.sender(request(HTTP_REFERER=referrer)).referrer_host == host


# -- which events repeat each other ----------------------------------------------------------------


def test_the_same_click_of_the_same_person_has_the_same_key(counter: Counter) -> None:
    first, again = (counter.click(counter.sender(who="u1")) for _ in range(2))
    assert first.dedupe_key == again.dedupe_key
    assert len(bytes.fromhex(first.dedupe_key)) == 8


def test_a_query_is_the_same_however_it_is_typed(counter: Counter) -> None:
    assert counter.click(query=" Tax  FORM").dedupe_key == counter.click().dedupe_key


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "ad"},
        {"query": "tax"},
        {"url": "https://a.example/2"},
        {"url": "", "doc_id": "7"},
        {"url": "", "ad_id": "7"},
        {"duplicates": ("u1", "ad-7")},
    ],
    ids=str,
)
def test_another_kind_query_or_target_is_no_repetition(
    change: dict[str, Any], counter: Counter
) -> None:
    assert counter.click(**change).dedupe_key not in ("", counter.click().dedupe_key)


def test_another_person_site_or_source_is_no_repetition(counter: Counter) -> None:
    other = counter.door.settings.sites.by_handle("other")
    assert other
    elsewhere = counter.desk.sender(request(), "addsearch", counter.site, who="u1")
    keys = {
        counter.click(counter.sender(who="u1")).dedupe_key,
        counter.click(counter.sender(who="u2")).dedupe_key,
        counter.click(counter.sender(who="u1", site=other)).dedupe_key,
        counter.click(elsewhere).dedupe_key,
    }
    assert len(keys - {""}) == 4


def test_parts_of_an_identity_do_not_run_into_each_other(counter: Counter) -> None:
    keys = {
        counter.click(duplicates=("u1", *rest)).dedupe_key
        for rest in [("ab", "c"), ("a", "bc"), ("abc",), ("abc", ""), ("", "abc")]
    }
    assert len(keys) == 5


def test_who_is_not_named_never_repeats_anything(counter: Counter) -> None:
    nobody = counter.sender()
    assert counter.click(nobody).dedupe_key == ""
    assert counter.click(nobody, duplicates=("u1", "ad")).dedupe_key == ""
    assert counter.click(duplicates=("", "ad")).dedupe_key == ""


def test_a_key_cannot_be_computed_without_the_secret(counter_with: Make, tmp_path: Any) -> None:
    first = counter_with()
    second = counter_with(
        secret="another secret of more than thirty-two", store=f"sqlite:///{tmp_path}/2.db"
    )
    assert first.click().dedupe_key != second.click().dedupe_key  # fmt: skip


def test_any_text_makes_a_key(counter: Counter) -> None:
    assert counter.click(url="\ud800\0", duplicates=("\udfff", "")).dedupe_key


# -- our own links ---------------------------------------------------------------------------------


def test_a_link_of_ours_stands_for_what_it_remembers(counter: Counter) -> None:
    query_id = new_query_id(now_ms())
    click = counter.click(url=counter.link(query_id=query_id))
    assert (click.url, click.query_id, click.position, click.module_code, click.doc_id) == (
        "https://a.example/1",
        query_id,
        3,
        "BWEB",
        "item-7",
    )
    assert click.dedupe_key == ""


def test_what_the_sender_says_itself_goes_before_what_the_link_remembers(counter: Counter) -> None:
    click = counter.click(url=counter.link(), position=5, module_code="I14Y", doc_id="mine")
    assert (click.position, click.module_code, click.doc_id) == (5, "I14Y", "mine")


def test_a_link_to_the_site_itself_is_kept_with_its_first_host(counter: Counter) -> None:
    click = counter.click(url=counter.link(location="/forms/a"))
    assert click.url == "https://www.shop.example/forms/a"


@pytest.mark.parametrize("form", ["path", "mounted", "parameter", "more", "fragment"])
def test_a_link_of_ours_is_known_in_every_form(form: str, counter: Counter) -> None:
    link = counter.link()
    token = link.partition("/r/")[2]
    url = {
        "path": f"/_clicks/r/{token}",
        "mounted": f"https://www.shop.example/app/_clicks/r/{token}",
        "parameter": f"/_clicks/r/?t={token.replace('$', '%24')}&x=1",
        "more": f"{link}?utm_source=x",
        "fragment": f"{link}#top",
    }[form]
    assert counter.click(url=url).url == "https://a.example/1"


def test_a_link_of_another_site_of_ours_stays_what_it_is(counter: Counter) -> None:
    link = counter.link(site="other")
    click = counter.click(url=link)
    assert (click.url, click.query_id) == (link, "")
    assert click.dedupe_key


def test_a_forged_link_stays_what_it_is(counter: Counter) -> None:
    forger = LinkSigner("not the secret of this site, but as long")
    target = LinkTarget("shop", new_query_id(now_ms()), 1, "", "", "https://a.example/1")
    for url in (
        "https://www.shop.example/_clicks/r/" + forger.sign_link(target),
        counter.link().replace("BWEB", "BOOS"),
        "https://www.shop.example/_clicks/r/",
        "https://www.shop.example/_clicks/r/" + "x" * 10_000,
    ):
        click = counter.click(url=url)
        assert (click.url, click.query_id) == (url, "")


def test_the_browser_that_followed_a_link_is_the_same_visitor_when_it_reports_it(
    counter: Counter,
) -> None:
    query_id = new_query_id(now_ms())
    environ = request(HTTP_USER_AGENT=FIREFOX)
    follower = counter.door.recorder.client(environ, "shop", now_ms(), query_id).visitor
    reported = counter.click(counter.sender(environ, who="u1"), url=counter.link(query_id=query_id))
    assert reported.visitor == follower


def test_a_server_that_reports_a_link_reports_its_own_visitor(counter: Counter) -> None:
    sender = counter.sender(request(HTTP_USER_AGENT="okhttp/4.12.0"), who="u1")
    assert counter.click(sender, url=counter.link()).visitor == sender.visitor


def test_a_link_of_a_shared_page_brings_its_view(counter: Counter) -> None:
    view = new_query_id(now_ms())
    assert counter.click(url=f"{counter.link()}?v={view}").view_id == view
    assert counter.click(url=f"{counter.link()}?v=AAAAAAAAAAAAAAAA").view_id == ""
    assert counter.click(url=f"https://a.example/?v={view}").view_id == ""


# -- what is kept ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("position", "raw", "kept"),
    [
        (1, "1", (1, "")),
        (0, "0", (0, "")),
        (1, "01", (1, "01")),
        (None, "none", (None, "none")),
        (None, "", (None, "")),
        (100_000, "", (100_000, "")),
        (100_001, "100001", (None, "")),
        (-4, "-4", (None, "")),
        (10**400, "9" * 400, (None, "9" * 32)),
    ],
    ids=lambda part: str(part)[:20],
)
def test_a_position_is_kept_with_what_was_sent_where_that_differs(
    position: int | None, raw: str, kept: tuple[int | None, str], counter: Counter
) -> None:
    click = counter.click(position=position, position_raw=raw)
    assert (click.position, click.position_raw) == kept


def test_texts_of_people_are_masked(counter: Counter) -> None:
    sender = counter.sender()
    mail, masked = "jane@example.org", "REDACTED_EMAIL"
    rating: Any = counter.desk.words(sender, Feedback, comment=f"Ask {mail}", score=3, query=mail)
    answer: Any = counter.desk.words(sender, Answer, question=mail, answer=mail)
    assert (rating.comment, rating.query, rating.score) == (f"Ask {masked}", masked, 3)
    assert (answer.question, answer.answer) == (masked, mail)
    assert counter.click(query=mail).query == masked
    assert counter.desk.search(sender, mail).query == masked


@pytest.mark.parametrize(
    ("given", "kept"),
    [((0, 0), (0, 0)), ((None, 10), (None, 10)), ((-1, -1), (None, 0)), ((10**400, 10**400), (None, 0))],
    ids=["none found", "not said", "negative", "beyond any database"],
)  # fmt: skip
def test_hits_and_offset_are_numbers_that_can_be_kept(
    given: tuple[int | None, int], kept: tuple[int | None, int], counter: Counter
) -> None:
    search = counter.desk.search(counter.sender(), "tax", total_hits=given[0], offset=given[1])
    assert (search.total_hits, search.offset) == kept


def test_everything_a_desk_makes_can_be_stored_and_has_its_sender(counter: Counter) -> None:
    desk, sender = counter.desk, counter.sender(who="u1", session="s1", trust="anonymous")
    shown = (Shown("https://a.example/1", 1, "BWEB"),)
    made: list[Any] = [
        counter.click(sender, language="en-us", profile="p", tag="t", title="Form\0A"),
        desk.search(sender, "tax form", impressions=shown, total_hits=1, language="en-us"),
        desk.words(sender, Impression, kind="ad_view", shown=shown),
        desk.words(sender, Feedback, score=3),
        desk.words(sender, Answer, question="why", answer="so", is_question=1),
        desk.words(sender, Conversion, order_id="o1", value=1.5, currency="EUR"),
    ]
    assert desk.record(*made)
    assert counter.kept() == made
    for event in made:
        assert (event.site, event.source, event.trust) == ("shop", "searchstax", "anonymous")
        assert (event.visitor, event.session, event.device) == (sender.visitor, "s1", "other")
    counter.door.worker.catch_up(30.0)
    assert counter.door.store.check() == []
    with closing(sqlite3.connect(counter.door.settings.database or "")) as database:
        views = ("clicks", "searches", "feedback", "answers", "conversions")
        assert [database.execute(f"SELECT count(*) FROM {view}").fetchone() for view in views] == [
            (1,)
        ] * 5


def test_what_cannot_be_kept_is_counted_and_said(counter_with: Make) -> None:
    counter = counter_with(journal="/dev/null/journal")
    assert counter.desk.record(counter.click()) is False
    assert sum(counter.tallies().values()) == 1
    assert [name for name in counter.tallies() if not name.startswith("dropped.")] == []


# -- how often may they ----------------------------------------------------------------------------


@pytest.mark.usefixtures("still_limits")
def test_above_the_rate_of_senders_a_request_is_refused_and_counted(counter_with: Make) -> None:
    counter = counter_with(redirect_rate=1)
    allowed = [counter.desk.allows(request(), "K1") for _ in range(SENDER_FACTOR * BURST_S + 20)]
    refused = counter.tallies()["rejected.rate"]
    assert allowed[: SENDER_FACTOR * BURST_S] == [True] * SENDER_FACTOR * BURST_S
    assert allowed.count(False) == refused > 0
    assert counter.kept() == []


@pytest.mark.parametrize(
    ("environ", "key"),
    [
        pytest.param(request(), "K2", id="another key"),
        pytest.param(request(REMOTE_ADDR="203.0.113.6"), "K1", id="another address"),
    ],
)
def test_each_key_and_address_has_a_rate_of_its_own(
    environ: Environ, key: str, counter_with: Make
) -> None:
    counter = counter_with(redirect_rate=1)
    while counter.desk.allows(request(), "K1"):
        pass
    assert counter.desk.allows(environ, key)


@pytest.mark.usefixtures("still_limits")
def test_addresses_of_one_ipv6_network_are_one_sender(counter_with: Make) -> None:
    counter = counter_with(redirect_rate=1)
    while counter.desk.allows(request(REMOTE_ADDR="2001:db8::1"), "K1"):
        pass
    assert not counter.desk.allows(request(REMOTE_ADDR="2001:db8::2"), "K1")
    assert counter.desk.allows(request(REMOTE_ADDR="2001:db8:0:1::1"), "K1")


def test_behind_a_proxy_that_is_not_named_nobody_is_limited(counter_with: Make) -> None:
    counter = counter_with(redirect_rate=1)
    environ = request(REMOTE_ADDR="10.0.0.2", HTTP_X_FORWARDED_FOR="203.0.113.5")
    assert all(counter.desk.allows(environ, "K1") for _ in range(500))


def test_behind_a_named_proxy_each_address_is_limited(counter_with: Make) -> None:
    counter = counter_with(redirect_rate=1, trusted_proxies=1)
    environ = request(REMOTE_ADDR="10.0.0.2", HTTP_X_FORWARDED_FOR="203.0.113.5")
    while counter.desk.allows(environ, "K1"):
        pass
    assert counter.desk.allows({**environ, "HTTP_X_FORWARDED_FOR": "203.0.113.6"}, "K1")


def test_without_a_rate_nobody_is_limited(counter: Counter) -> None:
    assert all(counter.desk.allows(request(), "K1") for _ in range(5000))


def test_a_long_key_takes_no_room(counter_with: Make) -> None:
    counter = counter_with(redirect_rate=1)
    counter.desk.allows(request(), "x" * 60_000)
    assert counter.desk._buckets
    ((key, _address),) = counter.desk._buckets._full_at
    assert len(key) == 64


# -- protocols -------------------------------------------------------------------------------------


def test_protocols_are_found_by_folder_each_under_one_name() -> None:
    found = find_protocols()
    names = [each.name for each in found]
    assert names == sorted(set(names))
    assert all(issubclass(each, Protocol) and each.endpoints for each in found)


@pytest.mark.parametrize("protocol", find_protocols(), ids=lambda each: each.name)
def test_every_endpoint_has_its_method_and_documents_its_answers(protocol: type[Protocol]) -> None:
    for endpoint in protocol.endpoints:
        assert callable(getattr(protocol, endpoint.answer)), endpoint.path
        assert endpoint.path.strip("/") == endpoint.path
        for method, operation in endpoint.operations.items():
            assert method in ("get", "post")
            assert {"operationId", "summary", "tags", "responses"} <= set(operation)


def test_no_two_endpoints_of_all_protocols_share_a_path() -> None:
    paths = [each.path.lower() for protocol in find_protocols() for each in protocol.endpoints]
    assert len(paths) == len(set(paths))
