"""AppSpec files and the bounded YAML below them."""

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock_agent import appspec as appspecs
from penstock_agent import documents
from penstock_agent.appspec import FileEntry, Script, matches
from penstock_agent.documents import DocumentInvalid, load
from penstock_agent.failures import AppSpecInvalid

HEAD = "version: 0.0\nos: linux\n"

COMPLETE = """\
# a comment
version: 0.0
os: linux
file_exists_behavior: OVERWRITE
files:
  - source: /
    destination: /var/www/html
    overwrite: true
permissions:
  - object: /var/www
    pattern: "*.sh"
    except: [/var/www/no.sh, x.sh]
    owner: root
    mode: 0755
    acls:
      - u:nobody:rx
      - d:u:nobody:rx
    type:
      - directory
hooks:
  BeforeInstall:
    - location: scripts/install
      timeout: 300
      runas: root
    - location: " other "
  AfterInstall:
  Unknown:
    - location: x
      timeout: '10'
      sudo: true
"""


def parse(text):
    return appspecs.parse(text.encode())


def test_a_whole_file():
    found = parse(COMPLETE)
    assert found.files == (FileEntry("/", "/var/www/html"),)
    assert found.file_exists_behavior == "OVERWRITE"
    assert found.hooks == {
        "BeforeInstall": (Script("scripts/install", 300, "root", False), Script("other", 3600, "", False)),
        "Unknown": (Script("x", 10, "", True),),
    }
    permission = found.permissions[0]
    assert (permission.mode, permission.owner, permission.types) == (0o755, "root", ("directory",))
    assert permission.acls == ("u:nobody:rx", "d:u:nobody:rx")
    assert permission.line == 10


def test_json_is_yaml_too():
    assert parse('{"version": 0.0, "os": "linux", "files": [{"source": "a", "destination": "/b"}]}').files == (
        FileEntry("a", "/b"),
    )


@pytest.mark.parametrize("version", ["0.0", "0", "0.00"])
def test_versions_that_are_zero(version):
    parse(f"version: {version}\nos: linux\n")


@pytest.mark.parametrize("meant", ["AppSpec.yml", "APPSPEC.YAML", "app/appspec.yml"])
def test_an_appspec_in_another_place_is_named(tmp_path, meant):
    (tmp_path / "README").write_text("x")
    (tmp_path / meant).parent.mkdir(exist_ok=True)
    (tmp_path / meant).write_text(HEAD)
    with pytest.raises(AppSpecInvalid, match=re.escape(f'html. The revision has "{meant}": rename it')):
        appspecs.find(str(tmp_path), "appspec.yml")


BAD = {
    "": "the application specification file was empty. Make sure your AppSpec file defines at minimum the 'version' and 'os' properties.",
    "# nothing\n": "the application specification file was empty",
    "- a\n": "is not a mapping",
    "os: linux\n": 'an invalid version value () was entered in the application specification file. Make sure your AppSpec file specifies "0.0" as the version, and then try again.',
    'version: "0.0"\nos: linux\n': "an invalid version value (0.0)",
    "version: one\nos: linux\n": "an invalid version value (one)",
    "version: 0.0\nos: windows\n": 'specifies an unsupported operating system (windows). Specify either "linux" or "windows" in the os section',
    "version: 0.0\nos: [linux]\n": "an unsupported operating system (['linux'])",
    HEAD + "file_exists_behavior: overwrite\n": "an invalid file_exists_behavior value (overwrite)",
    HEAD + "files: x\n": "the files section of the application specification file (line 3) is not a list",
    HEAD + "files:\n- x\n": "has an entry (line 4) that is not a mapping",
    HEAD + "files:\n- destination: /x\n": "specifies a destination file, but no source file. Update the files section",
    HEAD + "files:\n- source: x\n": "specifies only a source file (x). Add the name of the destination file",
    HEAD + "files:\n- {source: x, destination: y}\n": "names a destination (y, line 4) that is not a fully qualified path",
    HEAD + "files:\n- {source: [x], destination: /y}\n": "source in the files section of the application specification file (line 4) must be text",
    HEAD + 'files:\n- {source: "a\\0b", destination: /y}\n': "source in the files section of the application specification file (line 4) holds a control character. Update the files section",
    HEAD + 'files:\n- {source: x, destination: "/a\\nb"}\n': "destination in the files section of the application specification file (line 4) holds a control character",
    HEAD + "permissions:\n- mode: 644\n": "a permission listed in the application specification file has no object value",
    HEAD + "permissions:\n- {object: /x, mode: 07555}\n": "the length of a permissions mode (07555)",
    HEAD + "permissions:\n- {object: /x, mode: 698}\n": "the permissions mode (698) in the application specification file contains an invalid character (9)",
    HEAD + "permissions:\n- {object: /x, type: [link]}\n": "a permission for an object type not supported for permissions (link)",
    HEAD + "permissions:\n- {object: /x, acls: ['u:x']}\n": "Invalid acl entry (u:x)",
    HEAD + "permissions:\n- {object: /x, acls: ['u::rwx']}\n": "Use mode to set the base acl entry (u::rwx)",
    HEAD + "permissions:\n- {object: /x, context: {type: t}}\n": "asks for an SELinux context",
    HEAD + "hooks: x\n": "the hooks section of the application specification file (line 3) is not a mapping",
    HEAD + "hooks:\n  BeforeInstall: x\n": "the hook BeforeInstall of the application specification file (line 4) is not a list",
    HEAD + "hooks:\n  BeforeInstall:\n  - x\n": "the hook BeforeInstall of the application specification file has an entry (line 5)",
    HEAD + "hooks:\n  BeforeInstall:\n  - timeout: 5\n": "specifies a script with no location value. Specify the location in the hooks section",
    HEAD + "hooks:\n  BeforeInstall:\n  - {location: x, timeout: 0}\n": "an invalid timeout value was provided for a script",
    HEAD + "hooks:\n  BeforeInstall:\n  - {location: x, timeout: soon}\n": "an invalid timeout value was provided for a script",
    HEAD + "hooks:\n  BeforeInstall:\n  - {location: ../x}\n": "names a script outside the revision",
    "version: 0.0\n\tos: linux\n": "YAML is indented by spaces, not by tabs",
    "version: 0.0\n  os: linux\n": "is not valid YAML that the agent accepts: line 2, column 5",
    "version: !!python/object:os.system x\n": "line 1: the tag tag:yaml.org,2002:python/object:os.system is not accepted",
    "\xff".encode("latin-1").decode("latin-1").encode("utf-16").decode("latin-1"): "is not valid YAML",
}  # fmt: skip


@pytest.mark.parametrize("text", BAD, ids=lambda text: BAD[text][:40])
def test_errors_with_a_reason(text):
    with pytest.raises(AppSpecInvalid) as caught:
        appspecs.parse(text.encode("latin-1"))
    assert caught.value.message.startswith("The deployment failed because ")
    assert BAD[text] in caught.value.message


def laughs(levels):
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x]"]
    for n in range(1, levels):
        again = ",".join([f"*a{n - 1}"] * 9)
        lines.append(f"a{n}: &a{n} [{again}]")
    return "\n".join(lines)


# The text, and what is said of it.
HOSTILE = {
    "laughs": (laughs(9), "line 5: more than 50000 values"),
    "deep": ("[" * 5000 + "]" * 5000, "line 1: nested deeper than 32 levels"),
    "deep-mapping": ("".join("%sa:\n" % (" " * n) for n in range(400)), "line 32: nested deeper than 32 levels"),
    "long": ("a: " + "x" * 300_000, "the file has 300003 bytes; at most 262144 are accepted"),
    "many": ("[" + "a," * 50_000 + "]", "line 1: more than 50000 values"),
    "aliases": ("a: &a x\nb: [" + "*a," * 101 + "]", "line 2: more than 100 aliases"),
    "self": ("a: &a [*a]", "line 1: the alias *a contains itself"),
    "unknown": ("a: *b", "line 1: the alias *b has no anchor"),
    "two": ("a: 1\n---\nb: 2\n", "line 2: a second document"),
    "tag": ("a: !x 1", "line 1: the tag !x is not accepted"),
    "binary": ("\x00\x01\x02", "special characters are not allowed"),
    "complex-key": ("? [a, b]\n: c", "line 1: a key must be plain text"),
    "bad-merge": ("<<: x\n", "line 1: << takes a mapping"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_documents_are_refused_fast(name):
    text, said = HOSTILE[name]
    started = time.process_time()
    with pytest.raises(DocumentInvalid, match=re.escape(said)):
        load(text.encode())
    assert time.process_time() - started < 20


def test_documents_at_the_limits_are_read(monkeypatch):
    assert load(b"[" * 32 + b"]" * 32) == eval("[" * 32 + "]" * 32)
    assert load(b"a: " + b"x" * (256 * 1024 - 3)) == {"a": "x" * (256 * 1024 - 3)}
    assert load(b"a: &a x\nb: [" + b"*a," * 100 + b"]")["b"] == ["x"] * 100
    monkeypatch.setattr(documents, "MAX_NODES", 50)
    assert load(b"[" + b"a," * 49 + b"]") == ["a"] * 49


def test_aliases_and_merges_within_reason():
    assert load(b"a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: *a\n") == {
        "a": {"x": "1", "y": "2"},
        "b": {"x": "1", "y": "3"},
        "c": {"x": "1", "y": "2"},
    }


def test_scalars_stay_as_written():
    assert load(b"a: 0644\nb: on\nc: ~\nd: 'null'\ne:\nf: 2001-01-01\n") == {
        "a": "0644", "b": "on", "c": None, "d": "null", "e": None, "f": "2001-01-01",
    }  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200) | st.text(alphabet="ab:-[]{}&*!<>|'\"#%@`,? \n\t", max_size=120))
def test_any_text_is_a_document_or_an_error_with_a_reason(text):
    try:
        load(text.encode("utf-8", "surrogatepass"))
    except DocumentInvalid as error:
        assert str(error)  # noqa: PT017 - or it was accepted


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
            ["files", "permissions", "hooks", "source", "destination", "object", "mode", "location", "timeout", "BeforeInstall", "type", "acls"]
        ), inner, max_size=4),
        max_leaves=12,
    )
)  # fmt: skip
def test_any_shape_is_an_appspec_or_an_error_with_a_reason(value):
    import json

    document = {"version": 0.0, "os": "linux", **(value if isinstance(value, dict) else {"files": value})}
    try:
        parse(json.dumps(document).replace('"version": 0.0', '"version": 0.0'))
    except AppSpecInvalid as error:
        assert error.message  # noqa: PT017 - or it was accepted


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("**", "a/b", True),
        ("*", "a", True),
        ("*", "a/b", False),
        ("*.sh", "x.sh", True),
        ("*.sh", "d/x.sh", False),
        ("x", "X", False),
    ],
)
def test_patterns(pattern, path, expected):
    assert matches(pattern, path) is expected
