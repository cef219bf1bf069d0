"""The link scanner: what it finds, what it leaves alone, and that it does so in linear time."""

import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clickmw.html_grammar import compound, decode_references
from clickmw.scanner import KEEP, Link, Scanner, ScanRule, charset_is_safe

LINK = b'<a data-click href="/x">x</a>'
SIGNED = LINK.replace(b"/x", b"/r/1")
SCRIPT = b"<script async src=/s></script>"


class Page:
    """What became of a page, and the links that were asked about."""

    def __init__(self, page: bytes, chunk: int = 0, **options: object) -> None:
        self.asked: list[Link] = []
        self.scanner = Scanner(self.sign, **options)  # type: ignore[arg-type]
        if chunk:
            cuts = range(0, len(page), chunk)
            self.out = b"".join(self.scanner.feed(page[at : at + chunk]) for at in cuts)
            self.out += self.scanner.close()
        else:
            self.out = self.scanner.whole(page)

    def sign(self, link: Link) -> str | None:
        if not link.href.startswith(("http", "/")):
            return None
        self.asked.append(link)
        return f"/r/{len(self.asked)}"

    @property
    def positions(self) -> list[int]:
        return [link.position for link in self.asked]


def boxed(inside: bytes, options: bytes = b"") -> bytes:
    return b'<div data-click-module="M"' + options + b">" + inside + b"</div>"


def positions(page: bytes, **options: object) -> list[int]:
    return Page(page, **options).positions


def asked(page: bytes, **options: object) -> Link:
    return Page(page, **options).asked[0]


# --- hazards ----------------------------------------------------------------------------------

HIDDEN = {
    "comment": b"<!-- %s -->",
    "comment closed with a bang": b"<!-- %s --!>",
    "comment with dashes": b"<!-- -- - > %s --->",
    "script": b"<script>%s</script>",
    "script in any case": b"<SCRIPT>%s</sCRIPT >",
    "script with a comment": b"<script><!-- %s --></script>",
    "script in a script comment": b"<script><!-- <script>%s</script>%s--></script>",
    "script with a false end": b"<script></scripty %s </script/>",
    "style": b"<style>%s</style>",
    "textarea": b"<textarea>%s</textarea>",
    "title": b"<title>%s</title>",
    "title that looks closed": b"<title/>%s</title>",
    "xmp": b"<xmp>%s</xmp>",
    "iframe": b"<iframe>%s</iframe>",
    "noembed": b"<noembed>%s</noembed>",
    "noframes": b"<noframes>%s</noframes>",
    "doctype with a quote": b'<!DOCTYPE html PUBLIC "%s',
    "attribute value": b"<p title='%s'>",
    "cdata in svg": b"<svg><![CDATA[ > %s ]]></svg>",
    "cdata in math": b"<math><mtext><![CDATA[ %s ]]></mtext></math>",
    "style in foreignObject": b"<svg><foreignObject><style>%s</style></foreignObject></svg>",
    "style after a break out": b"<svg><g><p><style>%s</style></p>",
    "style in annotation": (
        b"<math><annotation-xml encoding='Text/HTML'><style>%s</style></annotation-xml></math>"
    ),
    "style after a self closing svg": b"<svg/><style>%s</style>",
}
SHOWN = {
    "noscript": b"<noscript>%s</noscript>",
    "abrupt comment": b"<!-->%s<!-- -->",
    "abrupt comment with a dash": b"<!--->%s<!-- -->",
    "empty comment": b"<!---->%s",
    "bogus comment": b"<!x>%s",
    "processing instruction": b"<?x?>%s",
    "bogus end tag": b"</ x>%s",
    "empty end tag": b"</>%s",
    "cdata in html": b"<![CDATA[>%s]]>",
    "cdata in foreignObject": b"<svg><foreignObject><p><![CDATA[>%s]]></p></foreignObject></svg>",
    "less-than sign": b"a < b <3 << %s",
    "value with a comment": b'<input value="<!--">%s',
    "style in svg": b"<svg><style>%s</style></svg>",
    "title in svg": b"<svg><title>%s</title></svg>",
    "self closing title in svg": b"<svg><title/>%s</svg>",
    "style in math": b"<math><style>%s</style></math>",
    "style in annotation without encoding": (
        b"<math><annotation-xml><style>%s</style></annotation-xml></math>"
    ),
    "mglyph in math text": b"<math><mi><mglyph><style>%s</style></mglyph></mi></math>",
    "font in svg": b"<svg><font><style>%s</style></font></svg>",
    "template": b"<template>%s</template>",
    "select": b"<select><option>%s</option></select>",
    "quote in an attribute name": b"""<p a"b c='d'>%s""",
    "equals sign first": b"""<p ="x>%s""",
    "value that looks self closing": b"<svg a=b/><title>%s</title></svg>",
    "quote in a tag name": b"""<p"x>%s""",
    "script ended in its comment": b"<script><!-- </script>%s",
    "nested script end": b"<script><!-- <script> </script> </script>%s",
    "icon": b'<svg viewBox="0 0 1 1"><title>i</title><path d="M0"/></svg>%s',
}
TAGS = {
    "double quotes": b'<a data-click href="%s">',
    "single quotes": b"<a data-click href='%s'>",
    "no quotes": b"<a data-click href=%s>",
    "no quotes before more": b"<a href=%s data-click>",
    "upper case": b'<A data-click HREF="%s">',
    "line breaks": b'<a\ndata-click\r\n\thref\n=\f"%s"\n>',
    "no space between": b'<a class="b"data-click href="%s"title=c>',
    "slashes": b"<a/data-click/href='%s'/>",
    "first of two": b'<a data-click href="%s" href="/second">',
    "signs in values": b'<a title="a>b<c" data-click href="%s" rel=\'>"\'>',
    "href in a value": b'<a title=\' href="/no"\' data-click href="%s">',
    "href in a name": b'<a hreflang="de" xhref="/no" data-click href="%s">',
    "quote in a name": b'<a p " y="/no" data-click href="%s">',
    "value with a space before": b'<a a ="x" data-click href = "%s" >',
    "mark with a value": b'<a data-click="" href="%s">',
}


@pytest.mark.parametrize("hazard", HIDDEN.values(), ids=HIDDEN)
def test_what_is_not_markup_is_never_rewritten(hazard):
    page = boxed(hazard.replace(b"%s", LINK) + b"</p>") + LINK
    if b"PUBLIC" not in hazard:
        assert Page(page).out == page
    else:
        assert Page(boxed(b'<!DOCTYPE a "<a data-click href=/x>">')).asked == []


@pytest.mark.parametrize("hazard", HIDDEN.values(), ids=HIDDEN)
def test_reading_goes_on_behind_what_is_not_markup(hazard):
    page = boxed(hazard.replace(b"%s", b"") + b'">' + LINK)
    assert Page(page).out == page.replace(LINK, SIGNED)


@pytest.mark.parametrize("hazard", SHOWN.values(), ids=SHOWN)
def test_what_only_looks_hidden_is_rewritten(hazard):
    page = boxed(hazard.replace(b"%s", LINK))
    assert Page(page).out == page.replace(LINK, SIGNED)


@pytest.mark.parametrize("tag", TAGS.values(), ids=TAGS)
def test_only_the_value_changes_inside_a_tag(tag):
    page = boxed(tag.replace(b"%s", b"/x"))
    assert Page(page).out == boxed(tag.replace(b"%s", b"/r/1"))


def test_nothing_is_rewritten_behind_plaintext():
    assert Page(boxed(b"<plaintext>" + LINK + b"</plaintext>" + LINK)).asked == []


@pytest.mark.parametrize(
    "tag",
    [b"<a data-click>", b"<a data-click href>", b"<a data-click href=>", b"<b data-click href=/x>",
     b"<area data-click href=/x>", b"<a DATA-CLICK href=/x>", b"<a data-clicks href=/x>",
     b"<a href=/x>", b'<a data-click href="/x>', b"</a data-click href=/x>"],
)  # fmt: skip
def test_other_tags_stay(tag):
    page = boxed(tag)
    assert Page(page).out is page


@pytest.mark.parametrize("end", [b"", b" ", b"/", b' title="x', b" title"])
def test_a_tag_without_an_end_stays(end):
    page = b"<ol data-click-module=M><a data-click href=/x" + end
    assert (Page(page).out, Page(page, chunk=1).out) == (page, page)


def test_a_link_outside_containers_stays():
    page = LINK + boxed(b"") + LINK
    assert Page(page).out is page


def test_a_page_without_markers_is_the_same_object():
    page = b"<p>hello</p>" * 100
    assert Page(page).out is page


def test_a_tag_with_a_large_inline_image_is_no_obstacle():
    image = b'<img src="data:image/png;base64,' + b"A" * 500_000 + b'">'
    page = boxed(image + LINK)
    assert Page(page, chunk=8192).out == page.replace(LINK, SIGNED)


def test_a_tag_longer_than_a_mebibyte_ends_the_rewriting_of_a_stream():
    page = boxed(b'<img alt="' + b"A" * 1_100_000 + b'">' + LINK)
    assert Page(page, chunk=8192).out == page


# --- references, encodings ----------------------------------------------------------------------

REFERENCES = {
    "&amp;a=1": "&a=1",
    "?a=1&copy=2": "?a=1&copy=2",
    "&currency=1&sect=2": "&currency=1&sect=2",
    "&copyright": "&copyright",
    "&copy": "©",
    "&copy;=": "©=",
    "&copy&amp": "©&",
    "&notit;": "&notit;",
    "&notin;": "∉",
    "&#38;&#x26;&#X26": "&&&",
    "&#128;&#x81;": "€\x81",
    "&#0;&#xD800;&#x110000;&#99999999999999999999;": "\ufffd" * 4,
    "&#;&#x;&;&": "&#;&#x;&;&",
    "&amp;amp;": "&amp;",
    "&lt;b&gt;": "<b>",
}


@pytest.mark.parametrize(("text", "decoded"), REFERENCES.items(), ids=REFERENCES)
def test_references_are_decoded_by_the_attribute_rule(text, decoded):
    assert decode_references(text) == decoded


def test_an_address_is_decoded_and_stripped():
    page = boxed(b'<a data-click href=" \n/b?a=1&amp;b=2&copy=3\t">')
    assert asked(page).href == "/b?a=1&b=2&copy=3"


@pytest.mark.parametrize("charset", ["utf-8", "shift_jis", "gbk", "big5", "euc-kr", "euc-jp"])
def test_text_is_read_in_the_page_s_charset(charset):
    query = {"euc-kr": "한국어", "gbk": "表格", "big5": "表格"}.get(charset, "ソ表能―ポ")
    page = f'<p>{query}</p><ol data-click-module=M data-click-query="{query}">'.encode(charset)
    page += LINK
    result = Page(page, charset=charset)
    assert (result.asked[0].container.query, result.out) == (query, page.replace(LINK, SIGNED))


def test_bytes_that_are_no_text_are_replaced():
    assert asked(boxed(LINK, b' data-click-query="\xff"')).container.query == "\ufffd"


def test_latin_1_is_read_as_browsers_do():
    page = boxed(LINK, b' data-click-query="\x80"')
    assert asked(page, charset="iso-8859-1").container.query == "€"


@pytest.mark.parametrize("charset", ["utf-8", "UTF8", "latin1", "windows-1251", "Shift_JIS",
    "EUC-JP", "GBK", "gb18030", "Big5", "koi8-r", "iso-8859-15", "us-ascii"])  # fmt: skip
def test_charsets_that_contain_ascii_are_safe(charset):
    assert charset_is_safe(charset)


@pytest.mark.parametrize("charset", ["utf-16", "utf-16le", "UTF-32", "utf-7", "iso-2022-jp",
    "iso-2022-kr", "hz", "cp037", "johab", "rot13", "idna", "unknown", "", "a\0b"])  # fmt: skip
def test_other_charsets_are_not_safe(charset):
    assert not charset_is_safe(charset)


# --- containers and positions ------------------------------------------------------------------


def test_positions_count_from_one():
    assert positions(boxed(LINK * 3)) == [1, 2, 3]


def test_positions_count_from_the_offset():
    assert positions(boxed(LINK * 2, b" data-click-offset=10")) == [11, 12]


def test_a_link_left_alone_uses_no_slot():
    assert positions(boxed(LINK + b"<a data-click href='mailto:a'></a>" + LINK)) == [1, 2]


def test_a_stated_position_uses_up_one_slot():
    page = boxed(LINK + b"<a data-click data-click-position=40 href=/x></a>" + LINK)
    assert positions(page) == [1, 40, 3]


@pytest.mark.parametrize("number", ["1e9", "-1", "0", "100001", "+1", " 1", "1.0", "", "\u0661"])
def test_a_link_with_a_malformed_position_stays(number):
    tag = f'<a data-click data-click-position="{number}" href=/x>'.encode()
    assert positions(boxed(tag + LINK)) == [1]


@pytest.mark.parametrize("module", ["", "a b", "a" * 33, "<b>", "é"])
def test_a_link_with_a_malformed_module_stays(module):
    tag = f'<a data-click data-click-module="{module}" href=/x>'.encode()
    assert positions(boxed(tag + LINK)) == [1]


def test_a_link_s_own_module_counts():
    page = boxed(b"<a data-click data-click-module=NEWS href=/x></a>" + LINK)
    assert [link.module for link in Page(page).asked] == ["NEWS", "M"]


@pytest.mark.parametrize("module", ["", "a b", "a" * 33, "<b>"])
def test_a_container_with_a_malformed_module_is_none(module):
    assert Page(f'<div data-click-module="{module}">'.encode() + LINK + b"</div>").asked == []


def test_a_container_carries_its_attributes():
    options = b' data-click-query="a&amp;b" data-click-total=1234 data-click-offset=10'
    options += b" data-click-site=s data-click-language=de data-click-profile=p data-click-tag=t"
    box = asked(boxed(LINK, options)).container
    stated = (box.module, box.query, box.total, box.offset, box.links_all, box.rule)
    assert stated == ("M", "a&b", 1234, 10, False, None)
    assert (box.site, box.language, box.profile, box.tag) == ("s", "de", "p", "t")


def test_malformed_counts_are_not_stated():
    box = asked(boxed(LINK, b" data-click-total=1e3 data-click-offset=-1")).container
    assert (box.total, box.offset, box.query) == (None, 0, None)


def test_an_inner_container_leaves_the_outer_count_alone():
    inner = b"<ol data-click-module=N>" + LINK * 2 + b"</ol>"
    page = Page(boxed(LINK + inner + LINK))
    told = [(link.module, link.position) for link in page.asked]
    assert told == [("M", 1), ("N", 1), ("N", 2), ("M", 2)]


def test_containers_of_one_name_nest():
    page = Page(boxed(LINK + b"<div><div>" + boxed(LINK) + b"</div>" + LINK + b"</div>") + LINK)
    assert page.positions == [1, 1, 2]


def test_an_unclosed_inner_container_ends_with_the_outer():
    assert positions(boxed(b"<ol data-click-module=N>" + LINK) + LINK) == [1]


def test_a_void_element_is_no_container():
    assert Page(b"<hr data-click-module=M>" + LINK).asked == []


def test_all_links_of_a_container_can_be_meant():
    page = b"<ul data-click-module=M data-click-links=all><a href=/x></a><b><a href=/x></a></ul>"
    assert positions(page + b"<a href=/x>") == [1, 2]


def test_containers_are_listed_whether_or_not_they_hold_links():
    page = Page(boxed(b"") + boxed(LINK) + b"<ol data-click-module=N>")
    assert [box.module for box in page.scanner.containers] == ["M", "M", "N"]


def test_a_link_kept_uses_its_slot():
    told = []
    page = boxed(LINK * 2)
    scanner = Scanner(lambda link: told.append(link.position) or KEEP)
    assert (scanner.whole(page) is page, told, scanner.links) == (True, [1, 2], 0)


def test_links_of_an_item_share_its_position():
    item = b"<li data-click-item=d1>" + LINK + b"<ul><li>" + LINK + b"</li></ul></li>"
    page = Page(boxed(item + LINK))
    told = [(link.item, link.position) for link in page.asked]
    assert told == [("d1", 1), ("d1", 1), (None, 2)]


def test_an_item_s_slot_waits_for_its_first_signed_link():
    item = b"<li data-click-item=d1><a data-click href='#a'></a></li>"
    assert positions(boxed(item + LINK)) == [1]


def test_the_innermost_item_counts():
    item = b"<li data-click-item=a>" + LINK + b"<p data-click-item=b>" + LINK + b"</p>" + LINK
    page = Page(boxed(item))
    told = [(link.item, link.position) for link in page.asked]
    assert told == [("a", 1), ("b", 2), ("a", 1)]


def test_an_item_without_a_name_groups_all_the_same():
    page = Page(boxed(b"<li data-click-item>" + LINK * 2 + b"</li>" + LINK))
    assert [(link.item, link.position) for link in page.asked] == [(None, 1), (None, 1), (None, 2)]


def test_a_container_inside_an_item_counts_for_itself():
    inner = b"<ol data-click-module=N>" + LINK * 2 + b"</ol>"
    assert positions(boxed(b"<li data-click-item=a>" + LINK + inner + LINK)) == [1, 1, 2, 1]


# --- Search.gov's form ---------------------------------------------------------------------------

GOV = b'<div id=search data-affiliate="gov" data-vertical="web" data-query="x &amp; y">%s</div>'


def test_the_search_gov_form_works_as_it_is():
    tag = b"""<a data-click='{"position":3,"module_code":"BOOS"}' href=/x>"""
    link = asked(GOV % tag)
    told = (link.module, link.position, link.container.query, link.container.site)
    assert told == ("BOOS", 3, "x & y", "gov")


def test_references_in_its_json_are_decoded():
    tag = b'<a data-click="{&quot;position&quot;:3,&quot;module_code&quot;:&quot;A&quot;}" href=/x>'
    assert asked(GOV % tag).position == 3


@pytest.mark.parametrize(
    "stated",
    ["", "{", "[]", "{}", '{"position":1}', '{"position":0,"module_code":"A"}',
     '{"position":1.5,"module_code":"A"}', '{"position":true,"module_code":"A"}',
     '{"position":1,"module_code":7}', '{"position":1,"module_code":"a b"}', '{"a":' * 300],
)  # fmt: skip
def test_a_search_gov_link_without_a_sound_module_or_position_stays(stated):
    assert Page(GOV % f"<a data-click='{stated}' href=/x>".encode()).asked == []


# --- rules -------------------------------------------------------------------------------------

RULED = b"""<ol class="r results"><li><h3><a href=/1></a></h3><a class=title href=/2></a></li>
<li id=k><h3><b><a class="x title" href=/3></a></b></h3></ol><h3><a class=title href=/4></h3>"""


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        (ScanRule("ol.results", None, "a", "W"), {"/1": 1, "/2": 2, "/3": 3}),
        (ScanRule("ol", "li", "a", "W"), {"/1": 1, "/2": 1, "/3": 2}),
        (ScanRule(".results.r", "li", "a.title", "W"), {"/2": 1, "/3": 2}),
        (ScanRule("[class='r results']", None, "h3 a", "W"), {"/1": 1, "/3": 2}),
        (ScanRule("#k", None, "[href='/3']", "W"), {"/3": 1}),
        (ScanRule("#k", "h3", "b a.title", "W"), {"/3": 1}),
        (ScanRule("ul.results", None, "a", "W"), {}),
    ],
    ids=["class", "tag and item", "classes", "step", "id", "all", "other tag"],
)
def test_rules_find_links_without_marks(rule, found):
    page = Page(RULED, rules=[rule])
    assert {link.href: link.position for link in page.asked} == found


def test_a_rule_s_container_says_which_rule():
    link = asked(RULED, rules=[ScanRule("#no", None, "a", "N"), ScanRule("#k", None, "a", "W")])
    assert (link.container.rule, link.module) == (1, "W")


@pytest.mark.parametrize("selector", ["", "a b", "a > b", "a,b", "a:hover", "*", "[a~=b]", "a["])
def test_other_selectors_are_refused(selector):
    with pytest.raises(ValueError, match="selector"):
        Scanner(lambda link: None, rules=[ScanRule(selector, None, "a", "W")])


def test_a_selector_s_longest_word_leads_the_search():
    assert compound('div#ab.c[role="listing"]').word == b"listing"


# --- base, script --------------------------------------------------------------------------------


def test_the_first_base_is_reported():
    head = b"<head><base target=_top><base href=' /a&amp;b '><base href=/c></head>"
    assert asked(head + boxed(LINK)).base == "/a&b"


@pytest.mark.parametrize("hidden", [b"<!--%s-->", b"<svg>%s</svg>", b"<title>%s</title>"])
def test_a_base_that_is_none_is_not_reported(hidden):
    assert asked(hidden.replace(b"%s", b"<base href=/a>") + boxed(LINK)).base is None


BODIES = {
    "plain": b"@</body></html>",
    "upper case": b"@</BODY >",
    "mixed case": b"@</bOdy>",
    "in a comment": b"<!-- </body> -->@</body>",
    "in a script": b"<script>'</body>'</script>@</body>",
    "in an attribute": b"<p title='</body>'>@</body>",
    "in a textarea": b"<textarea></body></textarea>@</body>",
    "in an unclosed svg": b"<svg><g>@</body>",
    "twice": b"@</body></body>",
    "long after": b"<p class=a>text</p>" * 2000 + b"@</body>",
}


@pytest.mark.parametrize("chunk", [0, 7, 1000])
@pytest.mark.parametrize("tail", BODIES.values(), ids=BODIES)
def test_the_script_stands_before_the_real_end_of_the_body(tail, chunk):
    page = boxed(LINK) + tail.replace(b"@", b"")
    expected = boxed(SIGNED) + tail.replace(b"@", SCRIPT)
    assert Page(page, chunk, script=SCRIPT).out == expected


@pytest.mark.parametrize("chunk", [0, 7])
@pytest.mark.parametrize(
    "page",
    [boxed(b"") + b"</body>", b"</body>" + boxed(LINK), boxed(LINK), boxed(LINK) + b"<!--</body>"],
    ids=["no link", "link after", "fragment", "comment only"],
)
def test_otherwise_there_is_no_script(page, chunk):
    assert SCRIPT not in Page(page, chunk, script=SCRIPT).out


# --- streaming ---------------------------------------------------------------------------------

HAZARDS = [*HIDDEN.values(), *SHOWN.values(), *(tag.replace(b"%s", b"/x") for tag in TAGS.values())]
DOCUMENTS = {
    "hidden": b"".join(hazard.replace(b"%s", LINK) for hazard in HIDDEN.values()),
    "shown": b"".join(hazard.replace(b"%s", LINK) for hazard in SHOWN.values()),
    "tags": b"".join(tag.replace(b"%s", b"/x") for tag in TAGS.values()),
    "items": b"<li data-click-item=a>" + LINK * 2 + b"<ol data-click-module=N>" + LINK + b"</ol>",
    "cut short": LINK + b'<a data-click href="/x" title="',
}


@pytest.mark.parametrize("inside", DOCUMENTS.values(), ids=DOCUMENTS)
def test_a_page_cut_anywhere_becomes_the_same(inside):
    page = b"<base href=/b>" + boxed(inside) + b"</body>"
    whole = Page(page, script=SCRIPT)
    for cut in range(len(page) + 1):
        told = Page(b"")
        scanner = Scanner(told.sign, script=SCRIPT)
        out = scanner.feed(page[:cut]) + scanner.feed(page[cut:]) + scanner.close()
        assert (out, told.positions) == (whole.out, whole.positions), cut


@pytest.mark.parametrize("chunk", [1, 2, 3, 5])
@pytest.mark.parametrize("inside", DOCUMENTS.values(), ids=DOCUMENTS)
def test_a_page_in_small_pieces_becomes_the_same(inside, chunk):
    page = boxed(inside) + b"</body>"
    assert Page(page, chunk, script=SCRIPT).out == Page(page, script=SCRIPT).out


@pytest.mark.parametrize("piece", [b"<p>hi</p> x &am", b"<!-- abc", b"<script>var a", b"a < b"])
def test_nothing_is_held_back_outside_an_open_tag(piece):
    assert Scanner(lambda link: None).feed(piece) == piece


def test_after_a_failure_everything_passes_unchanged():
    def fail(link: Link) -> str:
        raise RuntimeError

    page = boxed(LINK)
    scanner = Scanner(fail)
    out = scanner.feed(page[:20])
    with pytest.raises(RuntimeError):
        scanner.feed(page[20:])
    out += scanner.unsent()
    assert out + scanner.feed(LINK) + scanner.close() == page + LINK


# --- laws --------------------------------------------------------------------------------------

FRAGMENTS = [
    b"<!--", b"-->", b"--!>", b"<!-->", b"<!", b"<?", b">", b"<", b"</", b"</>", b'"', b"'", b"=",
    b"<script>", b"</script>", b"<style>", b"</style>", b"<title>", b"<title/>", b"</title>",
    b"<textarea>", b"</textarea>", b"<xmp>", b"</xmp>", b"<noscript>", b"</noscript>", b"<svg>",
    b"</svg>", b"<svg/>", b"<g>", b"</g>", b"<foreignObject>", b"</foreignObject>", b"<desc>",
    b"</desc>", b"<math>", b"</math>", b"<mi>", b"</mi>", b"<![CDATA[", b"]]>", b"<p>", b"</p>",
    b"<br>", b"</br>", b"<p a='b>", b'<p a="b>', b"<p a=b/>", b"<p a\nb = c>", b"x", b"&amp;",
    b"\xff", b"<h1>", b"<font color=a>", b"<font>", b"</font>", b"<style ", b"<SCRIPT ", b"/>",
    b"<annotation-xml encoding=text/html>", b"</annotation-xml>", b"<template>", b"</template>",
    b"<select>", b"</select>", b"<option>", b"<iframe>", b"</iframe>", b"\n", b"\0", b"</body>",
]  # fmt: skip
MARKED = [
    LINK, b"<a data-click href=/x>", b"<a href='/x' data-click ", b'<li data-click-item="a">',
    b"<li>", b"</li>", b"<ol data-click-module=N>", b"</ol>", b"<div>", b"</div>", b"data-click",
    b"<div data-click-module=M data-click-links=all>", b"</a>", b"<a href=/x>",
]  # fmt: skip
soups = st.lists(st.sampled_from(FRAGMENTS + MARKED), max_size=30).map(
    lambda pieces: boxed(b"".join(pieces))
)
TOKEN = b"/0123456789/"


def rewritten(page: bytes, cuts: list[int] | None = None, script: bytes = b"") -> bytes:
    scanner = Scanner(lambda link: TOKEN.decode() if link.href == "/x" else None, script=script)
    if cuts is None:
        return scanner.whole(page)
    edges = [0, *sorted(cut % (len(page) + 1) for cut in cuts), len(page)]
    pieces = [scanner.feed(page[a:b]) for a, b in pairwise(edges)]
    return b"".join(pieces) + scanner.close()


@settings(max_examples=600, deadline=None)
@given(soups)
def test_all_bytes_outside_new_addresses_stay(page):
    assert rewritten(page).replace(TOKEN, b"/x") == page


@settings(max_examples=600, deadline=None)
@given(soups, st.lists(st.integers(0, 10_000), max_size=5))
def test_how_a_page_is_cut_does_not_matter(page, cuts):
    assert rewritten(page, cuts, SCRIPT) == rewritten(page, script=SCRIPT)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_pass(page):
    page = b"<b data-click-module=M>" + page
    assert rewritten(page, [3, 30, 60]).replace(TOKEN, b"/x") == page


# A template's content is markup, but the parser's selectors do not look there. The end tags left
# out may close an element around an <svg>; which elements are open there is not followed.
ORACLE_FRAGMENTS = [
    piece
    for piece in FRAGMENTS
    if b"template" not in piece
    and piece not in (b"</font>", b"</noscript>", b"</select>", b"</annotation-xml>")
]
ORACLE_LINK = b'<a data-mark data-click href="/x">'


@settings(max_examples=1500, deadline=None)
@given(st.lists(st.sampled_from([*ORACLE_FRAGMENTS, ORACLE_LINK]), max_size=14))
def test_a_parser_sees_the_same_page_with_other_addresses(pieces):
    lexbor = pytest.importorskip("selectolax.lexbor")
    inside = b"".join(pieces)
    page = b"<!DOCTYPE html><body><div data-click-module=M>" + inside
    before = lexbor.LexborHTMLParser(page.decode("utf-8", "replace"))
    after = lexbor.LexborHTMLParser(rewritten(page).decode("utf-8", "replace"))
    for link in before.css("a[data-mark][data-click]"):
        if link.attributes.get("href") == "/x":
            link.attrs["href"] = TOKEN.decode()
    assert after.html == before.html


# --- time --------------------------------------------------------------------------------------

ATTACKS = {
    "signs": b"<",
    "open tags": b"<a ",
    "open values": b'<a x="',
    "bare tags": b"<a>",
    "comments": b"<!--",
    "abrupt comments": b"<!-->",
    "dashes": b"-",
    "commented scripts": b"<script><!--",
    "script comments": b"<!---->",
    "script ends": b"</",
    "svg": b"<svg>",
    "svg with groups": b"<svg><g>",
    "icons": b"<svg><path/><p>",
    "cdata": b"<svg><![CDATA[",
    "end tags": b"</div>",
    "markers": b"data-click ",
    "links": b"<a data-click href=x>",
    "items": b"<li data-click-item=a>",
    "containers": b"<ol data-click-module=N>",
    "equals": b"<p =",
    "slashes": b"<p /",
    "references": b"<a data-click href='&#1&a",
}
OPENINGS = {"": b"", " in a script": b"<script>", " in an escaped script": b"<script><!--",
            " in svg": b"<svg>", " in a tag": b"<a data-click b='"}  # fmt: skip
HOSTILE = {
    name + where: (opening, piece)
    for name, piece in ATTACKS.items()
    for where, opening in OPENINGS.items()
}


def hostile_time_s(opening: bytes, piece: bytes, size: int, chunk: int) -> float:
    page = boxed(LINK + opening + piece * (size // len(piece)))
    started = time.process_time()
    Page(page, chunk, script=SCRIPT)
    return time.process_time() - started


@pytest.mark.parametrize(("opening", "piece"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_pages_take_linear_time(opening, piece):
    for chunk in (0, 8192):
        # The machine may be busy with other things: one calm round of five is proof enough.
        rounds = (
            hostile_time_s(opening, piece, 100_000, chunk)
            < 10 * hostile_time_s(opening, piece, 25_000, chunk) + 0.1
            for _ in range(5)
        )
        assert any(rounds)


def test_names_made_up_for_containers_take_linear_time():
    boxes = b"".join(b"<x%d data-click-module=M>" % number for number in range(5000))
    started = time.process_time()
    Page(boxes)
    assert time.process_time() - started < 10
