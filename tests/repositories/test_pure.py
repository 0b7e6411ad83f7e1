"""Names, pkt-lines, commits and differences, without git's help except to judge us."""

import io
import subprocess
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.repositories.changes import differences
from penstock.repositories.git import Pointer, read_commit
from penstock.repositories.names import is_reference, is_repository_name, kind_of
from penstock.repositories.operations import commits
from penstock.repositories.pktline import ABSENT, BadPush, Command, pkt, read_push

reference_text = st.text(st.sampled_from("ab/.~^:?*[\\@{ \x01\x7fé-"), max_size=8).map(
    lambda tail: f"refs/heads/{tail}"
)


@settings(max_examples=60, deadline=None)
@given(reference_text)
def test_references_are_what_git_takes(name):
    said = subprocess.run(["git", "check-ref-format", name], capture_output=True, check=False).returncode == 0
    assert is_reference(name) is said


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("a", True),
        ("A.b_c-1", True),
        ("x" * 100, True),
        ("", False),
        ("x" * 101, False),
        ("..", False),
        ("x.git", False),
        ("a/b", False),
    ],
)
def test_repository_names(name, good):
    assert is_repository_name(name) is good


def test_kinds():
    assert kind_of("refs/heads/a/b") == ("branch", "a/b")
    assert kind_of("refs/tags/v1") == ("tag", "v1")
    assert kind_of("refs/notes/commits") == ("", "refs/notes/commits")


commands = st.lists(
    st.tuples(
        st.text("0123456789abcdef", min_size=40, max_size=40),
        st.text("0123456789abcdef", min_size=40, max_size=40),
        st.binary(min_size=1, max_size=30).filter(lambda raw: b"\0" not in raw and b"\n" not in raw),
    ),
    min_size=1,
    max_size=5,
)


@given(commands, st.booleans())
def test_pushes_are_read_as_they_were_written(given_commands, newline):
    lines = [f"{old} {new} ".encode() + name for old, new, name in given_commands]
    lines[0] += b"\0 report-status side-band-64k agent=x"
    body = b"".join(pkt(line + (b"\n" if newline else b"")) for line in lines) + b"0000PACKrest"
    push = read_push(io.BytesIO(body))
    read = [(one.old, one.new, one.reference) for one in push.commands]
    assert read[1:] == given_commands[1:]
    assert read[0] == given_commands[0]
    assert "side-band-64k" in push.capabilities


@given(st.binary(max_size=200))
def test_noise_is_refused_or_empty(body):
    try:
        push = read_push(io.BytesIO(body))
    except BadPush:
        return
    assert isinstance(push.commands, tuple)


def test_a_refusal_names_every_reference():
    line = f"{ABSENT} {'1' * 40} refs/heads/main".encode() + b"\0report-status"
    push = read_push(io.BytesIO(pkt(line) + pkt(f"{ABSENT} {'1' * 40} refs/x".encode()) + b"0000"))
    said = push.refusal({b"refs/x": "no"}, "other")
    assert said == pkt(b"unpack ok\n") + pkt(b"ng refs/heads/main other\n") + pkt(b"ng refs/x no\n") + b"0000"


@pytest.mark.parametrize("name", ["-x", "--upload-pack=x", "HEAD", f"{'n' * 200}/{'n' * 56}"])
def test_a_branch_that_nobody_could_name_is_not_made_but_can_be_deleted(name):
    reference = f"refs/heads/{name}".encode()
    assert Command(ABSENT, "1" * 40, reference).complaint() == "branch name is not allowed"
    assert Command("1" * 40, ABSENT, reference).complaint() == ""
    assert Command(ABSENT, "1" * 40, b"refs/tags/-x").complaint() == ""


def test_too_many_references():
    line = pkt(f"{ABSENT} {'1' * 40} refs/heads/main".encode())
    with pytest.raises(BadPush, match="10000 references at most"):
        read_push(io.BytesIO(line * 10_001 + b"0000"))


pointers = st.builds(Pointer, st.sampled_from("ab"), st.sampled_from("xy"))
refs = st.dictionaries(st.sampled_from([f"refs/heads/{c}" for c in "abcdef"]), pointers)


class Row:
    def __init__(self, name, pointer):
        self.name, self.object, self.commit = name, pointer.object, pointer.commit


@given(refs, refs)
def test_differences_lead_from_one_to_the_other(old, new):
    changed = dict(old)
    for change in differences([Row(*item) for item in old.items()], new):
        assert changed.get(change.name) == change.old
        if change.new is None:
            del changed[change.name]
        else:
            changed[change.name] = change.new
        assert change.old != change.new
    assert changed == new


def test_a_commit_with_a_signature_and_an_encoding():
    written = (
        b"tree " + b"1" * 40 + b"\nparent " + b"2" * 40 + b"\nparent " + b"3" * 40
        + b"\nauthor J\xf6rg <j@x> 1 +0100\ncommitter J\xf6rg <j@x> 1 +0100\nencoding ISO-8859-1\n"
        + b"gpgsig -----BEGIN-----\n abc\n -----END-----\n\nGr\xfc\xdfe\n\nmore\n"
    )  # fmt: skip
    commit = read_commit("4" * 40, written)
    assert commit.parents == ("2" * 40, "3" * 40)
    assert commit.author == "Jörg <j@x> 1 +0100"
    assert commit.message == "Grüße\n\nmore\n"
    assert read_commit("4" * 40, b"\xff\xfe").message == ""


@pytest.mark.parametrize(
    "written",
    ["<" * 500_000, "a <b" * 200_000, "a <b> 1 " + "<" * 500_000, " " * 500_000, "a <b> " + "1" * 500_000 + " +0000"],
)
def test_no_author_line_takes_long_to_read(written):
    began = time.thread_time()
    assert commits._person(written)["date"] == ""
    assert time.thread_time() - began < 0.5  # a pattern took minutes of the event loop


def test_an_author_line_is_taken_apart():
    assert commits._person("Ann B <a@b> 12 +0100") == {"name": "Ann B", "email": "a@b", "date": "12 +0100"}
    assert commits._person("Ann") == {"name": "Ann", "email": "", "date": ""}


@pytest.mark.parametrize(
    ("encoding", "written", "read"),
    [
        ("undefined", "x", "x"),
        ("utf-7", "a+2AA-b", "a?b"),
        ("unicode_escape", r"a\ud800b\u0000c", "a?bc"),
        ("hex", "6162", "6162"),
        ("no-such-one", "x", "x"),
    ],
)
def test_whatever_encoding_a_commit_names_its_text_can_be_stored(encoding, written, read):
    commit = read_commit("1" * 40, f"tree {'2' * 40}\nauthor {written}\nencoding {encoding}\n\n{written}".encode())
    assert (commit.author, commit.message) == (read, read)


def test_an_encoding_that_takes_quadratic_time_is_not_used():
    content = b"tree x\nencoding Punycode\n\n" + b"a" * 500_000 + b"-" + b"b" * 500_000
    began = time.thread_time()
    assert read_commit("0" * 40, content).message.startswith("aaa")
    assert time.thread_time() - began < 0.5


def test_a_push_has_ten_thousand_references_at_most():
    line = pkt(f"{ABSENT} {'1' * 40} refs/heads/main".encode())
    assert len(read_push(io.BytesIO(line * 10_000 + b"0000")).commands) == 10_000


def test_lines_at_the_bounds_of_what_git_sends():
    command = f"{ABSENT} {'1' * 40} ".encode()
    longest = command + b"x" * (65_516 - len(command))
    push = read_push(io.BytesIO(pkt(longest) + b"0000"))
    assert push.commands == (Command(ABSENT, "1" * 40, longest[82:]),)
    assert read_push(io.BytesIO(b"")).commands == ()
    assert read_push(io.BytesIO(b"0000")).commands == ()
    for wrong in (pkt(longest + b"x") + b"0000", b"0004", b"0001", b"xxxx", pkt(command), pkt(b"shallow")):
        with pytest.raises(BadPush, match="the list of references cannot be read"):
            read_push(io.BytesIO(wrong + b"0000"))
    with pytest.raises(BadPush, match="ends in the middle"):
        read_push(io.BytesIO(pkt(command + b"main")[:-1]))


def test_only_the_first_line_offers_and_shallow_ones_are_no_commands():
    first = pkt(b"shallow " + b"1" * 40 + b"\0 report-status")
    second = pkt(f"{ABSENT} {'1' * 40} refs/heads/a".encode() + b"\0side-band-64k\n")
    push = read_push(io.BytesIO(first + second + b"0000PACK"))
    assert push.capabilities == {"report-status"}
    assert [one.reference for one in push.commands] == [b"refs/heads/a"]


def test_a_report_comes_in_packets_that_git_reads():
    line = f"{ABSENT} {'1' * 40} refs/heads/main".encode()

    def report(offered, reason="two\nlines"):
        return read_push(io.BytesIO(pkt(line + b"\0" + offered) + b"0000")).refusal({}, reason)

    plain = pkt(b"unpack ok\n") + pkt(b"ng refs/heads/main two lines\n") + b"0000"
    assert report(b"side-band-64k") == b""
    assert report(b"report-status") == report(b"report-status-v2") == plain
    assert report(b"report-status side-band-64k") == pkt(b"\x01" + plain) + b"0000"
    whole = report(b"report-status", "x" * 65_400)
    # A side-band packet has 65,520 bytes with its head of four and its band.
    room = 65_515
    assert len(whole) <= room
    many = read_push(io.BytesIO(pkt(line + b"\0report-status side-band-64k") + pkt(line) * 3 + b"0000")).refusal(
        {}, "y" * 30_000
    )
    payloads = []
    while many[:4] != b"0000":
        size = int(many[:4], 16)
        assert size <= 65_520
        assert many[4:5] == b"\x01"
        payloads.append(many[5:size])
        many = many[size:]
    assert many == b"0000"
    assert [len(payload) for payload in payloads[:-1]] == [room] * (len(payloads) - 1)
    assert b"".join(payloads).endswith(b"y\n0000")


def test_a_reference_that_is_no_text_is_refused():
    assert Command(ABSENT, "1" * 40, b"refs/heads/\xff").complaint() == "reference name is not UTF-8"
    assert Command(ABSENT, "1" * 40, b"refs/heads/a..b").complaint() == "reference name is not allowed"
    assert Command(ABSENT, "1" * 40, b"refs/heads/a").complaint() == ""
