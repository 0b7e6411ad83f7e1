"""Text from outside: nothing in it can act."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.webpages.plaintext import LONGEST_LINE, harmless, painted, without_colours

HIDING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b\u200e\u200f\ufeff]")


@pytest.mark.parametrize(
    ("line", "html"),
    [
        ("plain", "plain"),
        ("a < b & c > d", "a &lt; b &amp; c &gt; d"),
        ("\x1b[31mred\x1b[0m after", '<span class="a-red">red</span> after'),
        (
            "\x1b[1;32mPASS\x1b[22m still\x1b[39m plain",
            '<span class="a-green a-bold">PASS</span><span class="a-green"> still</span> plain',
        ),
        ("\x1b[2mdim\x1b[m.", '<span class="a-dim">dim</span>.'),
        ("\x1b[94mbright\x1b[90mgrey", '<span class="a-blue">bright</span><span class="a-dim">grey</span>'),
        ("\x1b[38;5;1mone\x1b[38;5;200mtwo", '<span class="a-red">one</span><span class="a-red">two</span>'),
        ("\x1b[38;2;1;2;31mx", "x"),
        ("\x1b[41mback", "back"),
        ("\x1b[31", "31"),
        ("\x1b[2J\x1b[Hclear", "clear"),
        ("\x1b]8;;https://bad.example\x07link\x1b]8;;\x07", "link"),
        ("\x1b]0;title\x1b\\x", "x"),
        ("10 %\r50 %\r100 %\r", "100 %"),
        ("bell\x07 null\x00", "bell\u2407 null\u2400"),
        ("\u202eevil", "[U+202E]evil"),
        ("\x9b31mx", "[U+009B]31mx"),
        ("\x1b[31ma\x1b[30mb", '<span class="a-red">a</span>b'),
        ("a\x1b[30mb\x1b[97mc\x1b[98md\x1b[29me", "abcde"),
        (
            "\x1b[31ma\x1b[37mb\x1b[31mc\x1b[40md",
            '<span class="a-red">a</span>b<span class="a-red">c</span><span class="a-red">d</span>',
        ),
        ("\x1b[31ma\x1b[1030mb\x1b[32;0031mc", '<span class="a-red">a</span>bc'),
        ("\x1b[38;5;7ma\x1b[38;5;8mb\x1b[38;5;9mc", 'a<span class="a-dim">b</span><span class="a-red">c</span>'),
        ("\x1b[38;5;15ma\x1b[38;5;16mb\x1b[38;5;14mc", 'ab<span class="a-cyan">c</span>'),
        ("\x1b[48;5;31;32ma", '<span class="a-green">a</span>'),
        ("\x1b[48;2;31;31;31;32ma", '<span class="a-green">a</span>'),
        ("\x1b[48;2;31;31;31;32;1ma", '<span class="a-green a-bold">a</span>'),
        ("\x1b[38;9;31ma", '<span class="a-red">a</span>'),
        ("\x1b[38ma\x1b[38;5mb\x1b[38;31mc", "abc"),
        ("\x1f \x7f\x80", "\u241f \u2421[U+0080]"),
        ("\x1b[31m<script>alert(1)</script>", '<span class="a-red">&lt;script&gt;alert(1)&lt;/script&gt;</span>'),
    ],
)
def test_painted(line, html):
    assert painted(line) == html


def test_a_long_line_is_cut_with_a_reason():
    answer = painted("x" * (LONGEST_LINE + 1_234))
    assert answer.startswith("x" * LONGEST_LINE + "<")
    assert "1,234 more characters" in answer
    assert painted("x" * 8_000) == "x" * 8_000
    assert painted("x" * 8_001) == "x" * 8_000 + '<span class="a-dim"> … 1 more characters</span>'


class _Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.text: list[str] = []

    def handle_starttag(self, tag, attrs):
        assert tag == "span"
        ((name, value),) = attrs
        assert name == "class"
        assert re.fullmatch(r"a-[a-z]+( a-[a-z]+)?", value)

    def handle_data(self, data):
        self.text.append(data)


@given(st.text(alphabet=st.one_of(st.characters(), st.sampled_from("\x1b[]m;0123456789\r<>&\"'\u202e\x07\\"))))
def test_whatever_comes_is_spans_and_text(line):
    elements = _Elements()
    elements.feed(painted(line))
    elements.close()
    assert not HIDING.search("".join(elements.text))
    assert not HIDING.search(without_colours(line))


@given(st.text())
def test_harmless_leaves_harmless_text_alone(text):
    once = harmless(text)
    assert harmless(once) == once
    if text.isascii() and text.isprintable():
        assert once == text
