"""Secret values are covered in whatever spelling programs print them, and what is looked for does not grow with their number."""

from __future__ import annotations

import base64
import html
import json
import shlex
import subprocess
import urllib.parse
from pathlib import Path

import pytest

from penstock.builds.supervisor.log import HOLD_LIMIT, Log
from penstock.masking import REACH, Mask, texts

SECRETS = [
    "a\"b\\c'd",
    'say "it" twice',
    "it's so",
    "d\u00fcr&m\u00e9+x y",
    "C:\\dir\tx",
    "p@ss:w/rd",
    "qq''zz\"\"c",
    "x\U0001f600y%25z",
    "tab\\nword",
    "!@#$%^&*()",
    "zz\\",
    "'lead",
    "\\\\zrv\\zhaze",
    "$HOME`x`!",
    "\x01\x1b\x7fq",
    "line one\nline 'two'",
]
KEY = "-----BEGIN KEY-----\n" + "\n".join(f"{row:02}" + "QUJD/+x=" * 6 for row in range(12)) + "\n-----END KEY-----\n"


def covered(secret: str, output: str) -> str:
    return Mask(texts([secret])).covered(output.encode("utf-8", "surrogateescape")).decode("utf-8", "replace")


def printed(secret: str) -> dict[str, str]:
    """A secret as programs print it that have it within JSON, Python, a command, a URL or XML, or several of these in each other."""
    once = json.dumps({"k": secret})
    return {
        "itself": f"<{secret}>",
        "JSON": once,
        "JSON in UTF-8": json.dumps(secret, ensure_ascii=False),
        "JSON four times": json.dumps(json.dumps(json.dumps(once))),
        "Python": repr([secret]),
        "bytes of Python": repr(secret.encode()),
        "JSON in Python": repr(once),
        "URL": f"https://u:{urllib.parse.quote(secret, safe='')}@host",
        "form": urllib.parse.urlencode({"k": secret}),
        "URL in URL": urllib.parse.quote(urllib.parse.quote(secret, safe=""), safe=""),
        "JSON in URL": urllib.parse.quote(once),
        "XML": html.escape(secret),
        "numbers of XML": secret.encode("ascii", "xmlcharrefreplace").decode(),
        "shell": shlex.quote(secret),
        "shell in JSON": json.dumps(shlex.quote(secret)),
        "SQL": "'" + secret.replace("'", "''") + "'",
    }


@pytest.mark.parametrize("secret", SECRETS)
def test_no_spelling_of_a_secret_shows_it(secret: str):
    for name, output in printed(secret).items():
        shown = covered(secret, output)
        assert "***" in shown, name
        assert secret[:3] not in shown, name
        assert secret[-3:] not in shown, name


@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_no_shell_shows_a_secret(shell: str):
    """What `set -x`, `export -p`, `set` and `env` print, and of bash `printf %q` and `declare -p`."""
    more = 'printf "%q\\n" "$S"; echo "${S@Q}"; declare -p S; ' if shell == "bash" else ""
    script = 'for S in "$@"; do export S; printf "<%s>\\n" "$S"; export -p | grep -A9 " S="; env | grep -A9 ^S=; set -x; : "pre$S"; { set +x; } 2>/dev/null; '
    done = subprocess.run(
        [shell, "-c", f"{script}{more} done", shell, *SECRETS],
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=True,
    )
    mask = Mask(texts(SECRETS))
    shown = mask.covered(done.stdout)
    assert shown.count(b"***") >= 4 * len(SECRETS)
    for secret in SECRETS:
        for end in (secret[:4], secret[-4:]):
            assert end.encode() not in shown, (end, shown)


@pytest.mark.parametrize("before", ["", "u:", "ab:", "user:", "x" * 50])
@pytest.mark.parametrize("secret", ["p@ss:w/rd", "d\u00fcr&m\u00e9+x y", "\xff\xfe\xfb\xff\xfe\xfb", "s" * 700])
def test_base64_of_what_a_secret_is_in_shows_nothing_of_it(before: str, secret: str):
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        shown = covered(secret, encode(f"{before}{secret}@x".encode()).decode())
        assert "***" in shown
        left = "".join(shown.split("***"))
        assert len(left) <= 4 * (len(before) + 2) // 3 + 10


@pytest.mark.parametrize("width", [64, 76])
def test_base64_that_is_written_in_lines_shows_nothing_of_a_key(width: int):
    encoded = base64.b64encode(KEY.encode()).decode()
    output = "\n".join(encoded[at : at + width] for at in range(0, len(encoded), width))
    *lines, last = covered(KEY, output).split("\n")
    assert set(lines) == {"***"}
    assert last.startswith("***")
    assert len(last) < 8


@pytest.mark.parametrize(
    ("secrets", "output", "shown"),
    [
        (["long", "longer"], "longer long", "*** ***"),
        (["abc123", "123xyz"], "<abc123xyz>", "<***>"),
        (["abab"], "<ababab>", "<***>"),
        (["a", "no", "", "  "], "a no", "a no"),
        (["key"], "monkey KEY", "mon*** KEY"),
        (['{"user": "app", "port": 5432, "on": true, "n": 12}'], "app 5432 true 12", "*** *** true 12"),
        (['{"inner": "{\\"deep\\": \\"hush\\"}"}'], "it is hush", "it is ***"),
        (['{"on": "True", "off": ["false", " null"], "n": "12"}'], "true false null 12", "true false null 12"),
        (["true"], "it is true", "it is ***"),
        (['{"price": 1.50}'], "1.50", "***"),
        (["[" * 100_000], "fine", "fine"),
        ([KEY], json.dumps(KEY), '"***'),
        ([KEY], "\n".join(KEY.splitlines()[1:3]), "***\n***"),
        (["x" * 5000], f"<{'x' * 5000}>", "<***>"),
        (["a" * 256 + "b" * 256], f"<{'a' * 256}{'b' * 9}>", f"<***{'b' * 9}>"),
    ],
)
def test_what_is_covered(secrets: list[str], output: str, shown: str):
    found = Mask(texts(secrets)).covered(output.encode()).decode()
    assert found.startswith(shown) if shown == '"***' else found == shown
    assert "QUJD" not in found


def test_texts_that_are_nearly_a_secret_are_found_in_linear_time():
    """A pattern that could match in many ways would not come to an end here."""
    for secret, output in (
        ("'" * 250 + "x", "'" * 5000),
        ("\\" * 250 + '"x', "\\" * 5000),
        ("% " * 120 + "x", "%25%20" * 900),
        ("& \"'" * 60 + "x", "&amp; \\\"\\'" * 500),
    ):
        assert "x" not in Mask([secret]).covered(output.encode()).decode()


def test_ordinary_lines_are_searched_once_for_each_of_few_secrets_and_once_for_many():
    few = Mask(["first-secret", "second secret"])
    many = Mask(f"{number:05}-{number:09}!" for number in range(2000))
    line = b"2026-11-30 12:00:00 compiled module 17 in 3 ms\n" * 100
    assert few.suspects(line) == many.suspects(line) == []
    assert [one.piece for one in many.suspects(line + b"01234-000001234!")] == [b"01234-000001234!"]


def test_texts_that_have_a_word_in_common_are_looked_for_by_others():
    """A line with that word would be searched for every one of them."""
    mask = Mask(f"db-password-{number:04}" for number in range(500))
    assert len(mask.suspects(b"the password is wrong\n" * 100)) <= 10
    assert mask.covered(b"".join(b"<db-password-%04d>" % number for number in range(500))) == b"<***>" * 500


def logged(folder: Path, secrets: list[str], *pieces: bytes) -> list[str]:
    log = Log(str(folder), limit=10**6, session=str(folder / "none"), written=lambda: None, masked=texts(secrets))
    for piece in pieces:
        log.output(piece)
    log.flush()
    log.close()
    return [line.partition(b" ")[2].decode() for line in (folder / "log").read_bytes().splitlines()]


def test_a_secret_that_is_written_in_parts_is_covered(tmp_path: Path):
    secret = 'p"ss w\u00f6rd'
    parts = [bytes([byte]) for byte in f"<{json.dumps(secret)}>\n".encode()]
    assert logged(tmp_path, [secret], *parts) == ['<"***">']


def test_a_value_of_short_lines_is_covered_where_all_of_it_is_printed(tmp_path: Path):
    assert logged(tmp_path, ["user\npass12\n"], b"a\nuser\npass12\nb pass12\n") == ["a", "***", "b pass12"]


@pytest.mark.parametrize("before", range(HOLD_LIMIT - 30, HOLD_LIMIT + 3, 4))
def test_a_line_without_end_is_not_cut_in_a_secret(tmp_path: Path, before: int):
    secret = 'the "secret" value'
    line = b"x" * before + json.dumps(secret).encode() + b"y" * (REACH + 100)
    assert "".join(logged(tmp_path, [secret], line[:50_000], line[50_000:])) == "x" * before + '"***"' + "y" * (
        REACH + 100
    )
