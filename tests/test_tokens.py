"""Signed links: what they remember, and that nobody else can write one."""

from __future__ import annotations

import hmac
import json
import string
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from hashlib import sha1, sha256
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from itsdangerous import URLSafeTimedSerializer

from clickmw.errors import BadToken
from clickmw.events import new_query_id
from clickmw.tokens import MAX_AGE_MS, MAX_LENGTH, LinkSigner, LinkTarget

SECRET = "the first secret, of more than thirty-two characters"
OTHER_SECRET = "another secret, of more than thirty-two characters"
QUERY_ID = "AaH81ihAxg3zMoNQ"
LOCATION = "https://www.example.org/guides/retirement/benefits-for-spouses/index.html"
TARGET = LinkTarget("", QUERY_ID, 3, "BWEB", "", LOCATION)
PRINTABLE = "".join(chr(code) for code in range(33, 127))

targets = st.builds(
    LinkTarget,
    site=st.text(string.ascii_letters + string.digits + "._-", max_size=64),
    query_id=st.integers(0, 2**47).map(new_query_id),
    position=st.none() | st.integers(1, 100_000),
    module_code=st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=32),
    item=st.text(max_size=100),
    location=st.text(PRINTABLE, max_size=200),
)


@pytest.fixture(scope="module")
def signer() -> LinkSigner:
    return LinkSigner(SECRET)


@pytest.fixture(scope="module")
def token(signer: LinkSigner) -> str:
    return signer.sign_link(TARGET)


def refuses(signer: LinkSigner, token: str) -> bool:
    try:
        signer.read_link(token)
    except BadToken:
        return True
    return False


@given(target=targets)
@example(target=TARGET._replace(item="straße 🎉 \ud800 ;,.~!*$("))
@example(target=TARGET._replace(location="/a;b,C3.D/~x/%2F?q=1&r=a%20b#top!*$("))
@example(target=TARGET._replace(item=",2C."))
def test_a_link_reads_back_as_it_was_signed(target: LinkTarget) -> None:
    signer = LinkSigner(SECRET)

    assert signer.read_link(signer.sign_link(target)) == target


@given(target=targets)
def test_a_token_has_only_characters_that_no_path_and_no_attribute_changes(
    target: LinkTarget,
) -> None:
    token = LinkSigner(SECRET).sign_link(target)

    assert set(token) <= set(string.ascii_letters + string.digits + "-._~!$(*+,;=:@")


def test_a_usual_link_has_about_130_characters(token: str) -> None:
    assert len(LOCATION) == 73
    assert 120 <= len(token) <= 135


def test_the_query_is_not_in_the_link(signer: LinkSigner) -> None:
    # Nothing that is signed has a place for it.
    assert "query" not in LinkTarget._fields
    assert LinkTarget._fields == (
        "site",
        "query_id",
        "position",
        "module_code",
        "item",
        "location",
    )


def mutants(token: str) -> Iterator[str]:
    """Every token that is one character away from *token*, and everything it begins or ends with."""
    for at in range(len(token)):
        yield token[:at]
        yield token[at + 1 :]
        yield token[:at] + token[at + 1 :]
        for char in PRINTABLE:
            yield token[:at] + char + token[at + 1 :]
            yield token[:at] + char + token[at:]
    for char in PRINTABLE:
        yield token + char


def test_every_token_one_character_away_is_refused(signer: LinkSigner, token: str) -> None:
    changed = set(mutants(token)) - {token}

    assert len(changed) >= 15_000
    assert [one for one in changed if not refuses(signer, one)] == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a.b",
        "!!!!",
        "!" * 400,
        "x" * 100_000,
        "\n",
        "\x80\xff",
        "é.é",
        "\udc80.\udc80",
        ";;;;;.",
    ],
    ids=lambda text: ascii(text[:12]),
)
def test_made_up_text_is_refused(signer: LinkSigner, text: str) -> None:
    assert refuses(signer, text)


@given(text=st.text(max_size=300))
def test_random_text_is_refused(text: str) -> None:
    assert refuses(LinkSigner(SECRET), text)


@pytest.mark.parametrize("dirt", ["\n", "\r\n", "\x00", "éé", " ", "=", "==", "%"], ids=ascii)
def test_a_signature_has_one_spelling(signer: LinkSigner, token: str, dirt: str) -> None:
    within = token[:-4] + dirt + token[-4:]

    assert refuses(signer, token + dirt)
    assert refuses(signer, dirt + token)
    assert refuses(signer, within)


def test_the_unused_bits_of_the_last_character_do_not_make_a_second_spelling(
    signer: LinkSigner, token: str
) -> None:
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    place = alphabet.index(token[-1])
    twins = [token[:-1] + alphabet[place ^ bits] for bits in (1, 2, 3)]

    assert all(refuses(signer, twin) for twin in twins)


def test_a_link_with_an_invented_target_and_another_links_signature_is_refused(
    signer: LinkSigner, token: str
) -> None:
    proof = token.rpartition(".")[2]
    payload = signer.sign_link(TARGET._replace(location="https://evil.example/")).rpartition(".")[0]

    assert refuses(signer, f"{payload}.{proof}")


@pytest.mark.parametrize("purpose", ["report-login", "view", "redirect2", ""])
def test_a_token_signed_for_another_purpose_is_refused(signer: LinkSigner, purpose: str) -> None:
    assert refuses(signer, LinkSigner(SECRET, purpose=purpose).sign_link(TARGET))


def test_a_token_of_another_secret_is_refused(signer: LinkSigner) -> None:
    assert refuses(signer, LinkSigner(OTHER_SECRET).sign_link(TARGET))


def payload_of(token: str) -> bytes:
    return token.rpartition(".")[0].encode()


def with_mac(payload: bytes, mac: bytes) -> str:
    return payload.decode() + "." + urlsafe_b64encode(mac).decode().rstrip("=")


@pytest.mark.parametrize(
    ("key", "digest", "length"),
    [
        (SECRET.encode(), sha256, 16),
        (b"", sha256, 16),
        (SECRET.encode(), sha1, 20),
        (SECRET.encode(), sha256, 32),
    ],
    ids=["the secret itself as key", "an empty key", "SHA-1", "not cut to 16 bytes"],
)
def test_a_signature_made_another_way_is_refused(
    signer: LinkSigner, token: str, key: bytes, digest: str, length: int
) -> None:
    payload = payload_of(token)

    assert refuses(signer, with_mac(payload, hmac.digest(key, payload, digest)[:length]))


def test_the_signature_is_the_first_half_of_an_hmac_sha256(signer: LinkSigner, token: str) -> None:
    payload = payload_of(token)

    assert token == with_mac(payload, hmac.digest(signer._newest_first[0], payload, sha256)[:16])


def test_the_whole_mac_is_not_taken_for_its_first_half(signer: LinkSigner, token: str) -> None:
    payload = payload_of(token)
    key = signer._newest_first[0]

    assert refuses(signer, with_mac(payload, hmac.digest(key, payload, sha256)))
    assert refuses(signer, with_mac(payload, hmac.digest(key, payload, sha256)[:15]))


def test_a_web_token_without_algorithm_is_refused(signer: LinkSigner) -> None:
    parts = [{"alg": "none"}, {"url": "https://evil.example/"}]
    web_token = ".".join(urlsafe_b64encode(json.dumps(p).encode()).decode() for p in parts) + "."

    assert refuses(signer, web_token)


def test_a_session_cookie_of_the_same_secret_is_refused(signer: LinkSigner) -> None:
    session = URLSafeTimedSerializer(SECRET, salt="cookie-session").dumps({"url": LOCATION})

    assert refuses(signer, str(session))


def test_a_link_of_an_old_secret_is_still_read() -> None:
    rotated = LinkSigner(OTHER_SECRET, (SECRET,))

    assert rotated.read_link(LinkSigner(SECRET).sign_link(TARGET)) == TARGET


def test_the_newest_secret_signs() -> None:
    rotated = LinkSigner(OTHER_SECRET, ("an older secret, also of thirty-two characters", SECRET))

    assert rotated.sign_link(TARGET) == LinkSigner(OTHER_SECRET).sign_link(TARGET)


def test_a_link_of_a_retired_secret_is_refused(token: str) -> None:
    assert refuses(LinkSigner(OTHER_SECRET), token)


def test_a_token_of_the_greatest_length_is_read_and_a_longer_one_refused(
    signer: LinkSigner,
) -> None:
    overhead = len(signer.sign_link(TARGET._replace(location="")))
    longest = TARGET._replace(location="/" + "x" * (MAX_LENGTH - overhead - 1))
    longer = TARGET._replace(location="/" + "x" * (MAX_LENGTH - overhead))

    assert signer.read_link(signer.sign_link(longest)) == longest
    assert refuses(signer, signer.sign_link(longer))


def test_an_error_says_nothing_of_the_secret(signer: LinkSigner, token: str) -> None:
    with pytest.raises(BadToken) as caught:
        signer.read_link(token + "x")

    assert SECRET not in repr(caught.value)


# -- what links of today and of last year have in common ------------------------------------------


def test_links_that_were_signed_long_ago_stay_good() -> None:
    """How keys are made, and what a token looks like, is for ever: pages with links are printed."""
    signer = LinkSigner(SECRET)
    key = hmac.digest(SECRET.encode(), b"clickmw/redirect/v1", sha256)
    target = TARGET._replace(site="a", item="x:y", location="https://a.example/?b=c&d#e")
    payload = f"a:{QUERY_ID}:3:BWEB:x,3A.y:https:~~a.example~*b=c$d(e"
    assert signer._newest_first == [key]
    assert signer.sign_link(target) == with_mac(
        payload.encode(), hmac.digest(key, payload.encode(), sha256)[:16]
    )
    assert signer.read_link(signer.sign_link(target)) == target


def test_the_limits_are_these() -> None:
    assert MAX_LENGTH == 8_192
    assert MAX_AGE_MS == 30 * 24 * 60 * 60 * 1000


@pytest.mark.parametrize("payload", ["", "a", "a:b:1:c:d", "1:2:3"])
def test_what_is_signed_and_no_link_is_refused(payload: str, signer: LinkSigner) -> None:
    assert refuses(signer, f"{payload}.{signer._macs[0](payload.encode()).decode()}")


@pytest.mark.parametrize(
    "form",
    [
        "/_clicks/r/{}",
        "https://www.example.org/_clicks/r/{}",
        "https://www.example.org/mount/_clicks/r/{}?v=AaH81ihAxg3zMoNQ",
        "/_clicks/r/{}#top",
        "/_clicks/r/{}?a#b",
        "/_clicks/r/?t={}",
        "/_clicks/r/?t={}&v=AaH81ihAxg3zMoNQ",
    ],
)
def test_a_link_of_ours_is_found_in_an_address(form: str, signer: LinkSigner) -> None:
    token = signer.sign_link(TARGET._replace(item="ü?#&", location="https://a.example/?x#y"))
    written = quote(token, safe="") if "?t=" in form else token
    found = signer.find_link(form.format(written), "/_clicks/r/")
    assert found == signer.read_link(token)


@pytest.mark.parametrize(
    "url",
    ["", "/_clicks/r/", "/_clicks/r", "/other/{}", "{}", "/_clicks/r/{}x", "/_clicks/r/x{}",
     "/_clicks/r/?u={}", "/_clicks/r/?tx{}", "/_clicks/r/x?t={}", "/_clicks/r/?t=x{}"],
)  # fmt: skip
def test_what_is_no_link_of_ours_is_not_found(url: str, signer: LinkSigner, token: str) -> None:
    assert signer.find_link(url.format(token), "/_clicks/r/") is None
