"""What scripts say, what the agent says of it to its service and its log, and the reasons that it knows: at every limit."""

import errno
import json
import os
import socket
import ssl
import struct
import threading
from types import SimpleNamespace

import pytest

from penstock_agent import diagnostics, failures, install, log, output, reach, spelling
from penstock_agent.documents import load
from penstock_agent.failures import CommandFailure, reason
from penstock_agent.output import Lines, Output
from penstock_agent.replays import SKEW_MS, Replays
from penstock_agent.specification import IssuedFor

# --- lines ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        ([b"a\nb", b"c\n"], [["a"], ["bc"], []]),
        ([b"a\r\nb\r", b"\nc"], [["a"], ["b\r"], ["c"]]),
        ([b"\n\n"], [["", ""], []]),
        ([b"a\0b\n\xff\n"], [["a\ufffdb", "\ufffd"], []]),
        ([b"\xc3", b"\xa4\n\xe2\x82"], [[], ["ä"], ["\ufffd"]]),
        ([b"x" * 4096], [[], ["x" * 4096]]),
        ([b"x" * 4097], [["x" * 4096], ["x"]]),
        ([b"x" * 8192 + b"y\n"], [["x" * 4096, "x" * 4096, "y"], []]),
        ([b"x" * 8193], [["x" * 4096, "x" * 4096], ["x"]]),
        ([], [[]]),
    ],
)
def test_a_stream_is_cut_into_lines(pieces, lines):
    stream = Lines("> ")
    found = [stream.feed(piece) for piece in pieces] + [stream.feed(b"", last=True)]
    assert found == [[f"> {line}" for line in each] for each in lines]


def test_of_what_scripts_say_the_end_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(output.time, "time", lambda: 0.0)
    kept = Output(str(tmp_path / "logs" / "scripts.log"), 1 << 20)
    kept.write(["a", "\x1b[31mred\x1b[0m \x1b]0;title\x07end\x1bM", ""])
    assert kept.tail() == ("a\nred end\n\n", len("a\nred end\n\n"))
    kept.write(["x" * 16_383])  # 16 KiB with its end: what was before goes
    assert kept.tail() == ("x" * 16_383 + "\n", 11 + 16_384)
    kept.write(["y"])
    assert kept.tail()[0] == "y\n"
    kept.write(["z" * 16_381])
    assert kept.tail()[0] == "y\n" + "z" * 16_381 + "\n"
    kept.write(["w" * 20_000])  # the last is kept whole
    assert kept.tail()[0] == "w" * 20_000 + "\n"
    kept.close()
    written = (tmp_path / "logs" / "scripts.log").read_text()
    assert "\x1b[31mred" in written  # as it was said
    assert (tmp_path / "logs").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "logs" / "scripts.log").stat().st_mode & 0o777 == 0o600


def test_a_log_that_is_full_begins_anew_and_one_former_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(output, "stamp", lambda _now: "t")
    path = tmp_path / "scripts.log"
    log = Output(str(path), 12)
    log.write(["aaaa"])  # "t aaaa\n" has 7 bytes
    log.write(["bb"])  # and "t bb\n" 5: as much as there may be
    assert path.read_text() == "t aaaa\nt bb\n"
    log.write(["c"])
    assert (path.read_text(), (tmp_path / "scripts.log.1").read_text()) == ("t c\n", "t aaaa\nt bb\n")
    log.close()
    again = Output(str(path), 12)
    again.write(["dddd"])  # behind the four bytes that are there
    assert path.read_text() == "t c\nt dddd\n"
    again.write(["ee"])
    assert path.read_text() == "t ee\n"
    again.close()


def test_pipes_that_outlive_their_script_are_read_to_their_end():
    """By one thread at a time, which ends with the last of them."""
    drain, started = output.Drain(), []
    pairs = [os.pipe() for _ in range(3)]

    def threads():
        return [thread for thread in threading.enumerate() if thread.name == "drain" and thread not in started]

    started += threads()
    drain.take([])
    assert threads() == []
    drain.take([pairs[0][0]])
    drain.take([pairs[1][0]])
    (reader,) = threads()
    for _, there in pairs[:2]:
        os.write(there, b"said")
        os.close(there)
    reader.join(60)
    assert not reader.is_alive()
    assert drain._count == 0
    drain.take([pairs[2][0]])
    (again,) = threads()
    os.close(pairs[2][1])
    again.join(60)
    for here, _ in pairs:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(here)


# --- diagnostics ------------------------------------------------------------------------------------------------------


def said(**fields):
    return json.loads(diagnostics.envelope(fields)["Payload"])


@pytest.mark.parametrize(("name", "limit"), [("message", 2048), ("script_name", 512)])
def test_messages_and_names_are_short(name, limit):
    assert said(**{name: "x" * limit})[name] == "x" * limit
    assert said(**{name: "x" * (limit + 1)})[name] == "x" * (limit - 1) + "…"


def test_the_payload_is_as_long_as_it_may_be_and_no_longer():
    around = len(diagnostics.envelope({"log": ""})["Payload"])
    for size in (8191 - around - 1, 8191 - around):
        assert said(log="x" * size)["log"] == "x" * size
    assert said(log="y" + "x" * (8191 - around))["log"] == "x" * (8191 - around)
    assert len(diagnostics.envelope({"log": "x" * 9000})["Payload"]) == 8191
    assert diagnostics._tail("abc", 0) == ""
    assert diagnostics._tail("abc", 3) == "abc"
    assert [diagnostics._tail('a"c', room) for room in (2, 3, 4)] == ["c", '"c', 'a"c']  # a quote is two bytes of JSON
    assert diagnostics._tail('a"', 3) == 'a"'


def test_the_end_begins_with_a_line_where_one_is_near():
    """Within an eighth of the room; the end of a line takes two bytes of JSON."""
    for before, kept in ((10, ""), (11, "b" * 10 + "\n")):
        text = "b" * before + "\n" + "c" * (79 - before)
        assert diagnostics._tail("a" + text, 80) == kept + "c" * (79 - before)
    assert diagnostics._tail("short\n", 100) == "short\n"


def test_a_message_of_control_characters_fits_too():
    payload = diagnostics.envelope({"message": "\x01" * 2048, "script_name": "\x01" * 512, "log": "x"})["Payload"]
    fields = json.loads(payload)
    assert (len(fields["message"]), len(fields["script_name"])) == (200, 200)  # six bytes each


def test_a_result_has_its_fields():
    assert json.loads(diagnostics.result(4, "m", script="s", log="l")["Payload"]) == {
        "error_code": 4, "script_name": "s", "message": "m", "log": "l",
    }  # fmt: skip
    assert json.loads(diagnostics.result(0, "m")["Payload"]) == {
        "error_code": 0, "script_name": "", "message": "m", "log": "",
    }  # fmt: skip


# --- the agent's own log ----------------------------------------------------------------------------------------------


def test_a_line_of_the_log(capsys, monkeypatch):
    monkeypatch.setattr(log.time, "time", lambda: 1_800_000_000.0625)
    log.info("a.b", plain="x:/y", blank="x y", quoted='x"', equals="x=y", back="x\\y", nothing="", bell="\a", number=7, fault=OSError(28, "x"))  # fmt: skip
    assert capsys.readouterr().err == (
        '2027-01-15T08:00:00.062Z info a.b plain=x:/y blank="x y" quoted="x\\"" equals="x=y" back="x\\\\y" nothing="" '
        'bell="\\u0007" number=7 fault="the disk is full; make room on it and deploy again"\n'
    )  # fmt: skip


@pytest.mark.parametrize(("level", "shown"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_lines_below_the_level_are_not_written(capsys, monkeypatch, level, shown):
    monkeypatch.setattr(log, "_threshold", log._threshold)
    log.set_level(level)
    for write in (log.debug, log.info, log.warning, log.error):
        write("x")
    assert [line.split()[1] for line in capsys.readouterr().err.splitlines()] == ["debug", "info", "warning", "error"][
        4 - shown :
    ]


# --- reasons ----------------------------------------------------------------------------------------------------------


def test_every_number_that_is_known_has_its_sentence():
    for number, sentence in failures._REASONS.items():
        assert reason(OSError(number, "x", "/a/path")) == sentence
        assert sentence[0].islower()
        assert not sentence.endswith(".")
    assert len(failures._REASONS) == 39


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.EUSERS, "x"), f"the system reports: {os.strerror(errno.EUSERS)[:1].lower()}{os.strerror(errno.EUSERS)[1:]}"),
        (OSError(), "the agent met a case that it does not handle (its log has the details)"),
        (KeyError("x"), "the agent met a case that it does not handle (its log has the details)"),
        (TimeoutError(), "no answer in time"),
        (socket.gaierror(-2, "x"), "the host name cannot be resolved"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"), "the text is not UTF-8"),
        (OverflowError(), "a number is too large for the system"),
        (ssl.SSLError(1, "x"), "the TLS handshake failed (no reason given)"),
    ],
)  # fmt: skip
def test_other_errors_have_one_too(error, sentence):
    assert reason(error) == sentence


def test_a_certificate_that_is_not_trusted_says_why():
    error = ssl.SSLCertVerificationError(1, "x")
    error.verify_message = "self-signed certificate"
    assert reason(error) == "the certificate is not trusted (self-signed certificate)"


# --- what an AppSpec file says in vain --------------------------------------------------------------------------------


def test_what_was_probably_meant():
    document = load(
        b"version: 0.0\nfilez: []\nfiles:\n- sorce: a\n  destination: /b\npermissions:\n- object: /\n  xyzzy: 1\n"
        b"hooks:\n  Install: []\n  beforeinstal:\n  - locatoin: a\n  Nonsense: []\n  AfterInstall: []\n"
    )
    assert spelling.unread_keys(document) == [
        "The key filez (line 2) means nothing at the top level of the AppSpec file (files was probably meant).",
        "The key sorce (line 4) means nothing in the files section (source was probably meant).",
        "The key xyzzy (line 8) means nothing in the permissions section.",
        "The key locatoin (line 12) means nothing in the hook beforeinstal (location was probably meant).",
    ]
    assert spelling.unknown_hooks(document) == {
        "Install": "the hook Install (line 10) is an event that runs no scripts: its scripts do not run.",
        "beforeinstal": "the hook beforeinstal (line 11) is no lifecycle event (BeforeInstall was probably meant): its scripts do not run.",
        "Nonsense": "the hook Nonsense (line 13) is no lifecycle event: its scripts do not run.",
    }


def test_twenty_are_listed():
    many = "".join(f"x{number}: 1\n" for number in range(30)).encode()
    assert len(spelling.unread_keys(load(many))) == 20
    hooks = b"hooks:\n" + b"".join(b"  x%d: []\n" % number for number in range(30))
    assert len(spelling.unknown_hooks(load(hooks))) == 20
    entries = b"files:\n" + b"- {a: 1, b: 2}\n" * 30
    assert len(spelling.unread_keys(load(entries))) == 20
    assert spelling.unread_keys(load(b"files: x\nhooks: x\n")) == []
    assert spelling._show("x" * 80) == "x" * 80
    assert spelling._show("x" * 81) == "x" * 80 + "…"
    assert spelling._show("a\x1bb") == "a?b"


# --- specifications that were used ------------------------------------------------------------------------------------


def issued(**changes):
    given = {
        "execution": "e", "host_identifier": "host", "command_prefix": "c/", "events": ("Start", "Install"), "begun_ms": 10, "expires_ms": 1_000,
    }  # fmt: skip
    return IssuedFor(**given | changes)


def specification(deployment="d-1", **changes):
    return SimpleNamespace(deployment_id=deployment, group_id="g", issued_for=issued(**changes))


def record(index=0, event=None):
    return {"id": f"c/{index}.x", "execution": "e", "event": event or ("Start", "Install")[index]}


@pytest.fixture
def replays(tmp_path):
    (tmp_path / "deployment-instructions").mkdir()
    return Replays(str(tmp_path), "host", required=True)


def refused(replays, given, of, now=1_000):
    with pytest.raises(CommandFailure) as caught:
        replays.check(given, of, now)
    return caught.value.message.removeprefix("The deployment specification is not for this command: ").rstrip(".")


def test_for_how_long_a_specification_is_good(replays):
    replays.check(record(), specification(), 1_000 + SKEW_MS)
    assert refused(replays, record(), specification(), 1_001 + SKEW_MS).startswith(
        "it expired at 1970-01-01 00:00:01 UTC by this host's clock. Set the clock if it is wrong; if it is right, something between"
    )


def test_what_a_specification_was_signed_for(replays):
    assert refused(replays, record(), specification(host_identifier="other")) == "it was signed for the host other, and this is host"  # fmt: skip
    assert refused(replays, record(), specification(execution="x")) == "it was signed for another deployment than that of the command"  # fmt: skip
    for identifier in ("d/0", "c/", "c/x", "c/00000", "c/-1"):
        assert refused(replays, {**record(), "id": identifier}, specification()) == f"it was signed for other commands than {identifier}"  # fmt: skip
    assert refused(replays, {**record(), "id": "c/2"}, specification()) == "event 2 of the deployment is not Start"
    assert refused(replays, record(0, "Install"), specification()) == "event 0 of the deployment is not Install"
    replays.check({**record(), "id": "c/0000"}, specification(), 0)


def test_nothing_runs_twice_nor_after_what_is_newer(replays):
    replays.ran(record(0), specification())
    assert refused(replays, record(0), specification()) == "Start of it, or a later event, has run on this host already"
    replays.check(record(1), specification(), 0)
    replays.ran(record(1), specification())
    assert "has run on this host already" in refused(replays, record(0), specification())
    replays.check(record(0), specification("d-2"), 0)  # begun at the same time
    replays.ran(record(0), specification("d-2", begun_ms=11))
    assert refused(replays, record(1), specification()) == "deployment d-1 is older than d-2, which this host has had already"  # fmt: skip
    with pytest.raises(CommandFailure):
        replays.ran(record(1), specification())


def test_what_is_remembered_must_be_readable(replays, tmp_path):
    for text in ("{", "[]", '{"deployment": "d", "begun": "x", "index": 0}', '{"deployment": "d"}'):
        (tmp_path / "deployment-instructions" / "g-newest").write_text(text)
        with pytest.raises(CommandFailure, match="so nothing tells an old deployment from a new one. Remove the file"):
            replays.check(record(), specification(), 0)


def test_without_a_pinned_signer_nothing_need_be_said(tmp_path):
    plain = SimpleNamespace(deployment_id="d", group_id="g", issued_for=None)
    lax = Replays(str(tmp_path), "host", required=False)
    lax.check(record(), plain, 0)
    lax.ran(record(), plain)
    assert list(tmp_path.iterdir()) == []
    strict = Replays(str(tmp_path), "host", required=True)
    assert refused(strict, record(), plain) == "it does not say for which host and command it was signed"


# --- numbers of users -------------------------------------------------------------------------------------------------


def test_numbers_of_users_and_groups():
    largest = install.MAX_ID
    assert [install._number(name) for name in ("0", "007", str(largest), "root", "-1", "\u0661", "")] == [
        0, 7, largest, None, None, None, None,
    ]  # fmt: skip
    for name in (str(largest + 1), "00000000001", "9" * 50):
        with pytest.raises(
            failures.InstallFailed, match=f"{name[:40]} is no user or group id: the largest is {largest}"
        ):
            install._number(name)


# --- who reaches a directory ------------------------------------------------------------------------------------------


def test_a_list_of_who_may_pass():
    entries = [(0x01, 7, -1), (0x02, 1, 500), (0x02, 1, 501), (0x04, 0, -1), (0x10, 1, -1), (0x20, 0, -1)]
    expected = b"".join(struct.pack("<HHL", tag, rights, who & 0xFFFFFFFF) for tag, rights, who in entries)
    assert reach._list([500, 501]) == struct.pack("<L", 2) + expected


def test_users_reach_a_directory_while_their_scripts_run(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(reach, "_list", lambda users: repr(users).encode())
    monkeypatch.setattr(reach.os, "setxattr", lambda _path, name, value: seen.append((name, value.decode())))
    monkeypatch.setattr(reach, "close", lambda _path: seen.append("closed"))
    directory = reach.Reach(str(tmp_path))
    with directory.by(0), directory.by(os.geteuid()):
        assert seen == []
    with directory.by(700):
        with directory.by(600), directory.by(700):
            pass
    name = "system.posix_acl_access"
    assert seen == [
        (name, "[700]"), (name, "[600, 700]"), (name, "[600, 700]"), (name, "[600, 700]"), (name, "[700]"), "closed",
    ]  # fmt: skip
