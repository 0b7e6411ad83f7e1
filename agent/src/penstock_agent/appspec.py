"""The AppSpec file of a server revision, checked field by field (AWS: "AppSpec File structure", EC2/On-Premises)."""

from __future__ import annotations

import fnmatch
import os
import re
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from penstock_agent.archive import show
from penstock_agent.documents import MAX_BYTES, DocumentInvalid, Mapping, Scalar, Sequence, line_of, load
from penstock_agent.failures import BECAUSE, AppSpecInvalid
from penstock_agent.spelling import unknown_hooks, unread_keys

BEHAVIORS = ("DISALLOW", "OVERWRITE", "RETAIN")
DEFAULT_TIMEOUT_S = 3600
MAX_TIMEOUT_S = 100 * 24 * 3600
_FILE = "the application specification file"
_UPDATE = "Update the %s section of the AppSpec file, and then try again."
_ACL = re.compile(r"^(?:(d|default):)?(u|user|g|group|m|mask|o|other):([^:]*):([rwxX-]{1,3}|[0-7])$")


class FileEntry(NamedTuple):
    """One entry of `files`; `source` is relative to the revision, `destination` as written."""

    source: str
    destination: str


class Permission(NamedTuple):
    """One entry of `permissions`. `mode` is None when not given; `acls` are texts for setfacl."""

    object: str
    pattern: str
    excepts: Tuple[str, ...]
    types: Tuple[str, ...]
    owner: str
    group: str
    mode: Optional[int]
    acls: Tuple[str, ...]
    line: int


class Script(NamedTuple):
    """One script of a hook; `timeout_s` counts from its start."""

    location: str
    timeout_s: int
    runas: str
    sudo: bool


class AppSpec(NamedTuple):
    """A checked AppSpec file. `file_exists_behavior` is "" when the file does not say.

    unread: a sentence for each key that means nothing. unknown_hooks: hooks that are no lifecycle event, with a sentence.
    """

    files: Tuple[FileEntry, ...]
    permissions: Tuple[Permission, ...]
    hooks: Dict[str, Tuple[Script, ...]]
    file_exists_behavior: str
    unread: Tuple[str, ...]
    unknown_hooks: Dict[str, str]


def _because(text: str) -> AppSpecInvalid:
    return AppSpecInvalid(BECAUSE + text)


def find(archive: str, name: str) -> str:
    """The path of the AppSpec file `name` in an unpacked revision; appspec.yaml and appspec.yml are tried after it.

    Raises:
        AppSpecInvalid: it is missing, or not a file inside the revision.
    """
    inside = os.path.realpath(archive)
    for candidate in dict.fromkeys((name, "appspec.yaml", "appspec.yml")):
        path = os.path.join(archive, candidate)
        real = os.path.realpath(path)
        if os.path.isfile(real) and real.startswith(inside + os.sep):
            return path
    raise AppSpecInvalid(
        'The CodeDeploy agent did not find an AppSpec file within the unpacked revision directory at revision-relative path "%s".'
        ' The revision was unpacked to directory "%s", and the AppSpec file was expected but not found at path "%s".'
        " Consult the AWS CodeDeploy Appspec documentation for more information at"
        " http://docs.aws.amazon.com/codedeploy/latest/userguide/reference-appspec-file.html%s"
        % (name, archive, os.path.join(archive, name), _instead(archive, name))
    )


def _instead(archive: str, name: str) -> str:
    """A sentence about a file that was probably meant to be the AppSpec file; "" without one."""
    try:
        found = sorted(
            each for each in os.listdir(archive) if each.lower() in (name.lower(), "appspec.yaml", "appspec.yml")
        )
        if not found:
            found = [
                os.path.join(each, name)
                for each in os.listdir(archive)
                if os.path.isfile(os.path.join(archive, each, name))
            ]
    except OSError:
        return ""
    if not found:
        return ""
    return ". The revision has %s: rename it, or move it to the top of the revision" % show(os.fsencode(found[0]))


def read(path: str) -> AppSpec:
    """Read and check the file. Raises AppSpecInvalid."""
    with open(path, "rb") as file:
        data = file.read(MAX_BYTES + 1)
    return parse(data)


def parse(data: bytes) -> AppSpec:
    """Check the text of an AppSpec file. Raises AppSpecInvalid, with the line where there is one."""
    try:
        document = load(data)
    except DocumentInvalid as error:
        raise _because("%s is not valid YAML that the agent accepts: %s." % (_FILE, error)) from None
    if document is None:
        raise _because(
            _FILE + " was empty. Make sure your AppSpec file defines at minimum the 'version' and 'os' properties."
        )
    if not isinstance(document, Mapping):
        raise _because(
            _FILE + " is not a mapping: at the top level stand the keys version, os, files, permissions and hooks."
        )
    _check_version(document.get("version"))
    system = document.get("os")
    if system != "linux":
        raise _because(
            "%s specifies an unsupported operating system (%s)."
            ' Specify either "linux" or "windows" in the os section of the AppSpec file, and then try again.'
            % (_FILE, _show(system))
        )
    behavior = document.get("file_exists_behavior")
    if behavior is not None and behavior not in BEHAVIORS:
        raise _because(
            "an invalid file_exists_behavior value (%s) was entered in the application specification file."
            " Make sure your AppSpec file specifies one of DISALLOW,OVERWRITE,RETAIN as the file_exists_behavior, and then try again."
            % _show(behavior)
        )
    return AppSpec(
        files=tuple(_file(entry) for entry in _list(document, "files")),
        permissions=tuple(_permission(entry) for entry in _list(document, "permissions")),
        hooks=_hooks(document.get("hooks")),
        file_exists_behavior=str(behavior or ""),
        unread=tuple(unread_keys(document)),
        unknown_hooks=unknown_hooks(document),
    )


def _show(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= 80 else text[:80] + "…"


def _check_version(value: Any) -> None:
    try:
        right = isinstance(value, Scalar) and value.plain and float(value) == 0.0
    except ValueError:
        right = False
    if not right:
        raise _because(
            "an invalid version value (%s) was entered in the application specification file."
            ' Make sure your AppSpec file specifies "0.0" as the version, and then try again.' % _show(value)
        )


def _list(document: Mapping, name: str) -> List[Mapping]:
    value = document.get(name)
    if value is None:
        return []
    if not isinstance(value, Sequence):
        raise _because(
            "the %s section of %s (line %d) is not a list. %s" % (name, _FILE, line_of(value), _UPDATE % name)
        )
    for entry in value:
        if not isinstance(entry, Mapping):
            raise _because(
                "the %s section of %s has an entry (line %d) that is not a mapping of keys to values. %s"
                % (name, _FILE, line_of(entry) or line_of(value), _UPDATE % name)
            )
    return list(value)


def _text(entry: Mapping, key: str, section: str) -> str:
    value = entry.get(key)
    if value is None:
        return ""
    if not isinstance(value, Scalar):
        raise _because(
            "%s in the %s section of %s (line %d) must be text. %s"
            % (key, section, _FILE, line_of(value), _UPDATE % section)
        )
    if "\0" in value or "\n" in value.strip("\n"):
        raise _because(
            "%s in the %s section of %s (line %d) holds a control character. %s"
            % (key, section, _FILE, line_of(value), _UPDATE % section)
        )
    return str(value).strip()


def _file(entry: Mapping) -> FileEntry:
    source, destination = _text(entry, "source", "files"), _text(entry, "destination", "files")
    if not source:
        raise _because(_FILE + " specifies a destination file, but no source file. " + _UPDATE % "files")
    if not destination:
        raise _because(
            "%s specifies only a source file (%s). Add the name of the destination file to the files section of the AppSpec file, and then try again."
            % (_FILE, source)
        )
    if not destination.startswith("/"):
        raise _because(
            "%s names a destination (%s, line %d) that is not a fully qualified path. %s"
            % (_FILE, destination, line_of(entry["destination"]), _UPDATE % "files")
        )
    return FileEntry(source, destination)


def _texts(entry: Mapping, key: str, section: str) -> Tuple[str, ...]:
    value = entry.get(key)
    if value is None:
        return ()
    values = value if isinstance(value, Sequence) else [value]
    if not all(isinstance(each, Scalar) for each in values):
        raise _because(
            "%s in the %s section of %s (line %d) must be a list of texts. %s"
            % (key, section, _FILE, line_of(value), _UPDATE % section)
        )
    return tuple(str(each) for each in values)


def _permission(entry: Mapping) -> Permission:
    target = _text(entry, "object", "permissions")
    if not target:
        raise _because(
            "a permission listed in the application specification file has no object value. " + _UPDATE % "permissions"
        )
    types = _texts(entry, "type", "permissions") or ("file", "directory")
    for each in types:
        if each not in ("file", "directory"):
            raise _because(
                "the application specification filespecifies a permission for an object type not supported for permissions (%s). %s"
                % (each, _UPDATE % "permissions")
            )
    if entry.get("context") is not None:
        raise _because(
            "%s asks for an SELinux context (line %d), which this agent does not set. Use semanage and restorecon in a hook instead."
            % (_FILE, line_of(entry["context"]))
        )
    return Permission(
        object=target,
        pattern=_text(entry, "pattern", "permissions") or "**",
        excepts=_texts(entry, "except", "permissions"),
        types=types,
        owner=_text(entry, "owner", "permissions"),
        group=_text(entry, "group", "permissions"),
        mode=_mode(_text(entry, "mode", "permissions")),
        acls=_acls(_texts(entry, "acls", "permissions")),
        line=entry.line,
    )


def _mode(text: str) -> Optional[int]:
    if not text:
        return None
    if len(text) > 4:
        raise _because(
            "the length of a permissions mode (%s) in the application specification file is invalid."
            " Permissions modes must be between one and four characters long. %s"
            % (_show(text), _UPDATE % "permissions")
        )
    for character in text:
        if character not in "01234567":
            raise _because(
                "the permissions mode (%s) in the application specification file contains an invalid character (%s). %s"
                % (text, character, _UPDATE % "permissions")
            )
    return int(text, 8)


def _acls(entries: Tuple[str, ...]) -> Tuple[str, ...]:
    for entry in entries:
        found = _ACL.match(entry)
        if not found:
            raise _because(
                "of a problem with the acls permission settings in the application specification file. Invalid acl entry (%s). %s"
                % (_show(entry), _UPDATE % "permissions")
            )
        default, kind, name, _ = found.groups()
        if not default and not name and kind[0] in "ugo":
            raise _because(
                "of a problem with the acls permission settings in the application specification file."
                " Use mode to set the base acl entry (%s). %s" % (entry, _UPDATE % "permissions")
            )
    return entries


def _hooks(value: Any) -> Dict[str, Tuple[Script, ...]]:
    hooks: Dict[str, Tuple[Script, ...]] = {}
    if value is None:
        return hooks
    if not isinstance(value, Mapping):
        raise _because(
            "the hooks section of %s (line %d) is not a mapping. %s" % (_FILE, line_of(value), _UPDATE % "hooks")
        )
    for name, scripts in value.items():
        if scripts is None:
            continue
        if not isinstance(scripts, Sequence):
            raise _because(
                "the hook %s of %s (line %d) is not a list of scripts. %s"
                % (_show(name), _FILE, line_of(scripts) or line_of(name), _UPDATE % "hooks")
            )
        hooks[str(name)] = tuple(_script(str(name), each, line_of(scripts)) for each in scripts)
    return hooks


def _script(hook: str, entry: Any, line: int) -> Script:
    if not isinstance(entry, Mapping):
        raise _because(
            "the hook %s of %s has an entry (line %d) that is not a mapping of keys to values. %s"
            % (hook, _FILE, line_of(entry) or line, _UPDATE % "hooks")
        )
    location = _text(entry, "location", "hooks")
    if not location:
        raise _because(
            "%s specifies a script with no location value. Specify the location in the hooks section of the AppSpec file, and then try again."
            % _FILE
        )
    if ".." in location.split("/"):
        raise _because("%s names a script outside the revision (%s). %s" % (_FILE, location, _UPDATE % "hooks"))
    timeout = _text(entry, "timeout", "hooks") or str(DEFAULT_TIMEOUT_S)
    if not re.match(r"^[0-9]{1,9}$", timeout) or not 0 < int(timeout) <= MAX_TIMEOUT_S:
        raise _because(
            "an invalid timeout value was provided for a script in the application specification file."
            " Make corrections in the hooks section of the AppSpec file, and then try again."
        )
    sudo = _text(entry, "sudo", "hooks").lower() in ("true", "yes", "on", "1")
    return Script(location, int(timeout), _text(entry, "runas", "hooks"), sudo)


def matches(pattern: str, relative: str) -> bool:
    """Whether a path relative to a permission's object falls under its pattern: `**` is everything, else direct children."""
    if pattern == "**":
        return True
    return "/" not in relative and fnmatch.fnmatchcase(relative, pattern)
