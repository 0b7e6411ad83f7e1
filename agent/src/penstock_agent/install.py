"""What an Install would do, worked out and checked to the last detail before anything on the machine changes.

The rules are those of AWS's agent (AppSpec `files` and `permissions`); the difference is the order: it removes the
previous deployment's files first and looks for conflicts afterwards, here a conflict leaves everything as it is.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from typing import Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

from penstock_agent import log
from penstock_agent.appspec import AppSpec, FileEntry, Permission, matches
from penstock_agent.failures import BECAUSE, InstallFailed, LinkRefused, reason
from penstock_agent.filesystem import Filesystem

MAX_DEPTH = 100
MAX_ID = (1 << 32) - 2  # of a user or group


class Access(NamedTuple):
    """What permissions say about one path; None and () leave it as it is."""

    mode: Optional[int]
    uid: Optional[int]
    gid: Optional[int]
    acls: Tuple[str, ...]


class Plan(NamedTuple):
    """Everything an Install does. Paths are real ones (below install_root when there is one).

    created: directories that do not exist (parents first). kept: directories that an earlier deployment made and this
    one uses. copies: destination → source, in order. removed: files of the previous deployment that go. emptied: its
    directories that go when nothing is left in them (children first). displaced: its directories that make room for a
    file, with the paths below them that the previous deployment made.
    """

    install_root: str
    created: List[str]
    kept: List[str]
    copies: Dict[str, str]
    replaced: Set[str]
    removed: List[str]
    emptied: List[str]
    displaced: Dict[str, Set[str]]
    access: Dict[str, Access]
    cleanup: List[str]


def _fail(text: str) -> InstallFailed:
    return InstallFailed(BECAUSE + text)


class _Planner:
    def __init__(
        self, archive: str, install_root: str, behavior: str, previous: Sequence[str], files: Filesystem
    ) -> None:
        self.files = files
        self.archive = archive
        self.real_archive = os.path.realpath(archive)
        self.install_root = install_root
        self.behavior = behavior
        self.created: Dict[str, None] = {}
        self.kept: Dict[str, None] = {}
        self.copies: Dict[str, str] = {}
        self.replaced: Set[str] = set()
        self.displaced: Dict[str, Set[str]] = {}
        self.order: List[str] = []
        self.old_files: Dict[str, None] = {}
        self.old_inodes: Dict[Tuple[int, int], str] = {}
        self.old_directories: Dict[str, bool] = {}  # path → whether nothing foreign is in it
        for path in reversed(previous):
            try:
                found = files.lstat(path)
            except LinkRefused as refused:
                # What lies behind somebody's link is not what was installed there.
                log.warning("install.old_path_left", path=path, reason=refused.message)
                continue
            if found is None:
                continue
            if stat.S_ISDIR(found.st_mode):
                children = [os.path.join(path, name) for name in files.names(path)]
                self.old_directories[path] = all(
                    child in self.old_files or self.old_directories.get(child, False) for child in children
                )
            else:
                self.old_files[path] = None
                self.old_inodes[found.st_dev, found.st_ino] = path

    def real(self, destination: str) -> str:
        path = os.path.normpath("/" + destination.lstrip("/"))
        return self.install_root + path if self.install_root else path

    def entry(self, entry: FileEntry) -> None:
        source = os.path.normpath(os.path.join(self.archive, entry.source.lstrip("/")))
        above = os.path.realpath(os.path.dirname(source))
        if source != self.archive and not self.inside(above):
            raise _fail("the source %s of the files section lies outside the revision." % entry.source)
        destination = self.real(entry.destination)
        directory = self.directory_of(source)
        if directory:
            self.make_directory(destination)
            self.tree(directory, destination, directory, (directory,))
        elif os.path.lexists(source):
            self.make_directory(destination)
            name = os.path.basename(source)
            self.copy(os.path.join(above, name), os.path.join(destination, name))
        else:
            raise _fail("the source %s of the files section does not exist in the revision." % entry.source)

    def inside(self, real: str) -> bool:
        return real == self.real_archive or real.startswith(self.real_archive + os.sep)

    def directory_of(self, source: str) -> str:
        """The real directory that a source means, or "" for a file and for a link that leads out of the revision."""
        if os.path.islink(source) and os.path.isabs(os.readlink(source)):
            return ""
        real = os.path.realpath(source)
        return real if self.inside(real) and os.path.isdir(real) else ""

    def tree(self, source: str, destination: str, top: str, above: Tuple[str, ...]) -> None:
        """Copy what is in `source`, a directory of the revision whose path has no links."""
        if len(above) > MAX_DEPTH:
            raise _fail("the source %s is nested deeper than %d directories." % (top, MAX_DEPTH))
        for entry in sorted(os.scandir(source), key=lambda each: each.name):
            target = os.path.join(destination, entry.name)
            leads = self.directory_of(entry.path)
            # A link that means the same in the copy, or leads out of the revision, is installed as it is.
            if not leads or (entry.is_symlink() and (leads == top or leads.startswith(top + os.sep))):
                self.copy(entry.path, target)
                continue
            if leads in above:
                raise _fail("the symbolic link %s leads to a directory that holds it." % entry.path)
            self.make_directory(target)
            self.tree(leads, target, top, (*above, leads))

    def make_directory(self, path: str) -> None:
        if path in self.created or path in self.kept:
            return
        if path in self.copies:
            raise _fail(
                "the application specification file includes an mkdir command more than once for the same destination path (%s)"
                " from (%s). Update the files section of the AppSpec file, and then try again."
                % (path, self.copies[path])
            )
        parent = os.path.dirname(path)
        if path != parent:
            self.parent(parent)
        fresh = parent in self.created
        if not fresh and path in self.old_directories:
            self.kept[path] = None
            self.order.append(path)
            return
        if not fresh and path not in self.old_files:
            if self.files.is_directory(path):
                return
            if self.files.lstat(path) is not None:
                raise _fail("the directory %s cannot be made: a file with that name already exists." % path)
        self.created[path] = None
        self.order.append(path)

    def parent(self, path: str) -> None:
        if path in self.created or (
            path not in self.old_files and not self._below_fresh(path) and self.files.is_directory(path)
        ):
            if path in self.old_directories:
                self.make_directory(path)
            return
        self.make_directory(path)

    def _below_fresh(self, path: str) -> bool:
        while path != os.path.dirname(path):
            path = os.path.dirname(path)
            if path in self.created or path in self.old_files:
                return True
        return False

    def copy(self, source: str, path: str) -> None:
        if path in self.copies:
            raise _fail(
                "the application specification file specifies two source files named %s and %s for the same destination (%s)."
                " Remove one of the source file paths from the AppSpec file, and then try again."
                % (source, self.copies[path], path)
            )
        if path in self.created or path in self.kept:
            raise _fail(
                "the application specification file calls for installing the file %s, but a file with that name already exists"
                " at the location (%s). Update your AppSpec file or directory structure, and then try again."
                % (source, path)
            )
        if os.path.dirname(path) not in self.created:
            if path in self.old_directories:
                if not self.old_directories[path]:
                    raise _fail("the file %s cannot be installed: a directory with that name is not empty." % path)
                prefix = path + os.sep
                self.displaced[path] = {
                    each for each in (*self.old_files, *self.old_directories) if each.startswith(prefix)
                }
            elif path in self.old_files:
                self.replaced.add(path)
            else:
                found = self.files.lstat(path)
                if found is not None and self.ours(found):
                    self.replaced.add(path)
                elif found is not None and not self.over(path, found):
                    return
        self.copies[path] = source
        self.order.append(path)

    def ours(self, found: os.stat_result) -> bool:
        """Whether a file is the previous deployment's, which knew it by a path through a link. It is old no longer then."""
        former = self.old_inodes.get((found.st_dev, found.st_ino)) if found.st_nlink == 1 else None
        if former is not None:
            self.old_files.pop(former, None)
        return former is not None

    def over(self, path: str, found: os.stat_result) -> bool:
        """Whether a file that is not ours is written over."""
        if self.behavior == "RETAIN":
            return False
        if self.behavior not in {"OVERWRITE", "DISALLOW"}:
            raise _fail(
                "an invalid option was specified for fileExistsBehavior: %s."
                " Valid options include OVERWRITE, RETAIN, and DISALLOW." % self.behavior
            )
        if self.behavior == "DISALLOW":
            raise _fail("a specified file already exists at this location: %s" % path)
        if stat.S_ISDIR(found.st_mode):
            raise _fail("the file %s cannot be installed: a directory with that name already exists." % path)
        self.replaced.add(path)
        return True


def make_plan(appspec: AppSpec, archive: str, *, install_root: str, behavior: str, previous: Sequence[str]) -> Plan:
    """Work out an Install of the unpacked revision `archive`. `previous` are the paths of the last cleanup file.

    Reads the machine, changes nothing.

    Raises:
        InstallFailed: a conflict, a missing source, a permission that cannot be given, a link that is not followed.
    """
    files = Filesystem(install_root)
    try:
        planner = _Planner(archive, install_root, behavior, previous, files)
        for entry in appspec.files:
            planner.entry(entry)
        access = _access(appspec.permissions, planner)
    except OSError as error:
        raise _fail("the files of the revision cannot be read: %s." % reason(error)) from error
    finally:
        files.close()
    displaced = tuple(path + os.sep for path in planner.displaced)
    wanted = {*planner.copies, *planner.created}
    return Plan(
        install_root=install_root,
        created=list(planner.created),
        kept=list(planner.kept),
        copies=planner.copies,
        replaced=planner.replaced | {path for path in planner.created if path in planner.old_files},
        removed=[path for path in planner.old_files if path not in wanted and not path.startswith(displaced)],
        emptied=[path for path in planner.old_directories if path not in planner.kept and path not in wanted],
        displaced=planner.displaced,
        access=access,
        cleanup=planner.order,
    )


def _access(permissions: Sequence[Permission], planner: _Planner) -> Dict[str, Access]:
    found: Dict[str, Access] = {}
    directories = [*planner.created, *planner.kept]

    def give(path: str, access: Access) -> None:
        if path in found:
            raise _fail(
                "the permissions setting for (%s) is specified more than once in the application specification file."
                " Update the files section of the AppSpec file, and then try again." % path
            )
        found[path] = access

    for permission in permissions:
        access = _resolve(permission)
        target = planner.real(permission.object)
        if target in planner.copies:
            if "file" in permission.types:
                _check_single(permission)
                give(target, access)
        elif target in planner.created or target in planner.kept or planner.files.is_directory(target):
            prefix = target.rstrip(os.sep) + os.sep
            for kind, paths in (("file", list(planner.copies)), ("directory", directories)):
                if kind not in permission.types:
                    continue
                for path in paths:
                    relative = path[len(prefix) :]
                    if (
                        path.startswith(prefix)
                        and relative
                        and matches(permission.pattern, relative)
                        and not any(matches(each, relative) for each in permission.excepts)
                    ):
                        if kind == "file":
                            _check_no_default(access.acls)
                        give(path, access)
    return found


def _check_single(permission: Permission) -> None:
    update = " Update the permissions section of the AppSpec file, and then try again."
    if permission.pattern != "**":
        raise _fail(
            "the application specification file includes an object (%s) with an invalid pattern (%s),"
            " such as a pattern for a file applied to a directory.%s" % (permission.object, permission.pattern, update)
        )
    if permission.excepts:
        raise _fail(
            "the except parameter for a pattern in the permissions section (%s) for the object named %s contains an invalid format.%s"
            % (", ".join(permission.excepts), permission.object, update)
        )
    _check_no_default(permission.acls)


def _check_no_default(acls: Sequence[str]) -> None:
    if any(acl.startswith(("d:", "default:")) for acl in acls):
        raise _fail(
            "the -d parameter has been specified to apply an acl setting to a file."
            " This parameter is supported for directories only. Update the AppSpec file, and then try again."
        )


def _resolve(permission: Permission) -> Access:
    uid = gid = None
    me = os.geteuid()
    place = "the permissions section (line %d)" % permission.line
    if permission.owner:
        try:
            uid = _number(permission.owner)
            uid = pwd.getpwnam(permission.owner).pw_uid if uid is None else uid
        except KeyError:
            raise _fail("%s names the owner %s, whom this machine does not know." % (place, permission.owner)) from None
        if me not in (0, uid):
            raise _fail(
                "%s gives files to %s, but the agent runs as user id %d and only root may give files away."
                % (place, permission.owner, me)
            )
    if permission.group:
        try:
            gid = _number(permission.group)
            gid = grp.getgrnam(permission.group).gr_gid if gid is None else gid
        except KeyError:
            raise _fail(
                "%s names the group %s, which this machine does not know." % (place, permission.group)
            ) from None
        if me != 0 and gid not in (os.getegid(), *os.getgroups()):
            raise _fail(
                "%s gives files to the group %s, but the agent runs as user id %d, which is not in it."
                % (place, permission.group, me)
            )
    if permission.acls and setfacl() is None:
        raise _fail("%s sets acls, but the command setfacl is not installed on this machine." % place)
    return Access(permission.mode, uid, gid, permission.acls)


def _number(name: str) -> Optional[int]:
    """A user or group given by its number; None for a name."""
    if not (name.isascii() and name.isdecimal()):
        return None
    if len(name) > 10 or int(name) > MAX_ID:
        raise _fail("%s is no user or group id: the largest is %d." % (name[:40], MAX_ID))
    return int(name)


def setfacl() -> Optional[str]:
    """The path of setfacl, or None."""
    for directory in (*os.environ.get("PATH", "").split(os.pathsep), "/usr/bin", "/bin"):
        path = os.path.join(directory, "setfacl")
        if directory and os.access(path, os.X_OK):
            return path
    return None
