"""Which site a request belongs to."""

from __future__ import annotations

import pytest

from clickmw.sites import Key, Site, Sites

PARKS = Site(handle="parks", hosts=("www.parks.example", "parks.example"), access_key="hidden-1")
REST = Site(handle="rest")


@pytest.mark.parametrize(
    "host",
    ["www.parks.example", "WWW.Parks.example:8000", "parks.example.", "parks.example:443", " parks.example"],
)  # fmt: skip
def test_a_host_header_names_its_site_however_it_is_written(host: str) -> None:
    assert Sites([PARKS, REST]).for_host(host) is PARKS


@pytest.mark.parametrize("host", ["other.example", "", None, "a b", "[::1", "parks.example.evil"])
def test_an_unknown_host_falls_to_the_site_without_hosts(host: str | None) -> None:
    assert Sites([PARKS, REST]).for_host(host) is REST
    assert Sites([PARKS]).for_host(host) is None


def test_international_hosts_are_known_by_both_spellings() -> None:
    books = Site(handle="books", hosts=("bücher.example",))
    assert Sites([books]).for_host("xn--bcher-kva.example") is books


def test_without_sites_there_is_one_for_every_host() -> None:
    sites = Sites()
    assert [site.handle for site in sites.all] == ["default"]
    assert sites.for_host("any.example") is sites.default is sites.by_handle("default")


def test_a_site_is_found_by_its_handle() -> None:
    assert Sites([PARKS, REST]).by_handle("parks") is PARKS
    assert Sites([PARKS, REST]).by_handle("nobody") is None


def test_sites_never_show_their_keys() -> None:
    site = Site(
        handle="a", access_key="hidden-1", tracking_key="hidden-2", api_keys=(Key(key="hidden-3"),)
    )
    assert "hidden" not in repr(site) + repr(Sites([site]))


def test_sites_may_share_a_host_which_is_the_first_ones() -> None:
    sites = Sites([Site(handle=handle, hosts=("www.example.org",)) for handle in ("web", "news")])
    named = sites.named_by_page("news", "WWW.example.org:8080")
    assert (sites.for_host("www.example.org"), named) == sites.all


def test_a_page_cannot_name_a_site_of_other_hosts() -> None:
    sites = Sites([Site(handle="web", hosts=("www.example.org",)), Site(handle="default")])
    assert sites.named_by_page("web", "evil.example") is None
    assert sites.named_by_page("default", "www.example.org") is None
