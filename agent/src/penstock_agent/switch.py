"""Carrying out an install plan so that it happens completely or not at all, even across kill -9.

Everything new is first made under temporary names beside its destination. When it is on the disk, a journal gets the
word `switch`, old files move to names of their own, new ones to theirs, and when that is on the disk too, the journal
gets `commit`.
Whoever finds a journal without `commit` puts the old files back; with it, finishes. Every step can be repeated.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
from typing import Any, Dict, List, Optional, Set, Tuple

from penstock_agent import log
from penstock_agent.failpoints import failpoint
from penstock_agent.failures import BECAUSE, InstallFailed, reason
from penstock_agent.filesystem import Filesystem
from penstock_agent.install import Access, Plan, setfacl
from penstock_agent.layout import Deployment, Group, Syncs, append_lines, open_lines, write_durably

BLOCK = 1 << 20


class Journal:
    """One journal file: a header line of JSON, then one step per line."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.header: Dict[str, Any] = {}
        self.steps: List[str] = []

    def create(self, header: Dict[str, Any]) -> None:
        """Write the header, durable when this returns."""
        self.header = header
        write_durably(self.path, (json.dumps(header) + "\n").encode("ascii"))

    def load(self) -> bool:
        """Read it, or False when it is missing."""
        if not os.path.exists(self.path):
            return False
        # Half a step was not durable, and the next one must not be added to it.
        with open(open_lines(self.path), encoding="ascii") as file:
            header, *self.steps = file.read().splitlines()
        self.header = json.loads(header)
        return True

    def mark(self, step: str) -> None:
        """Append a word, durable when this returns."""
        with open(self.path, "ab", buffering=0) as file:
            append_lines(file.fileno(), (step + "\n").encode("ascii"))
            os.fdatasync(file.fileno())
        self.steps.append(step)

    def remove(self) -> None:
        """It is over."""
        os.unlink(self.path)


def install(plan: Plan, group: Group, deployment: Deployment, token: str) -> None:
    """Carry out `plan`. `token` makes the temporary names: letters and digits, another one for every try.

    Raises:
        InstallFailed: something could not be done; everything is as it was.
    """
    files = Filesystem(plan.install_root)
    try:
        _install(plan, group, deployment, token, files)
    finally:
        files.close()


def _install(plan: Plan, group: Group, deployment: Deployment, token: str, files: Filesystem) -> None:
    work, placements = _temporary_names(plan, token)
    displaced = [*plan.removed, *sorted(plan.replaced), *plan.displaced]
    journal = Journal(group.journal)
    header = {
        "install_root": plan.install_root,
        "placements": placements,
        "displaced": [
            [path, os.path.join(os.path.dirname(path), ".penstock-old-%s-%d" % (token, number))]
            for number, path in enumerate(displaced)
        ],
        "modes": [[path, *_mode_of(path, files)] for path in plan.kept if path in plan.access],
        "cleanup": plan.cleanup,
        "emptied": plan.emptied,
        "deployment": deployment.directory,
    }
    try:
        journal.create(header)
    except OSError as error:
        raise InstallFailed(
            BECAUSE + "the agent cannot write to its own directory %s: %s." % (group.instructions, reason(error))
        ) from error
    _name_temporaries(files, journal)
    try:
        failpoint("install.before_prepare")
        _prepare(plan, work, files)
        _sync_parents(journal, files)
        failpoint("install.before_switch")
        journal.mark("switch")
        _switch(journal, plan, files)
        _sync_parents(journal, files)
        failpoint("install.before_commit")
        journal.mark("commit")
    except Exception as error:
        _undo(journal, files)
        if isinstance(error, InstallFailed):
            raise
        if not isinstance(error, OSError):
            log.fault("install.broken", error)
        raise InstallFailed(BECAUSE + "files could not be installed: %s." % reason(error)) from error
    failpoint("install.after_commit")
    _finish(journal, group, files)


def recover(group: Group) -> Optional[str]:
    """Finish or undo what a killed agent left; "finished", "undone" or None when there was nothing."""
    journal = Journal(group.journal)
    if not journal.load():
        return None
    files = Filesystem(journal.header["install_root"])
    _name_temporaries(files, journal)
    try:
        if "commit" in journal.steps:
            _finish(journal, group, files)
            return "finished"
        _undo(journal, files)
        return "undone"
    finally:
        files.close()


def _name_temporaries(files: Filesystem, journal: Journal) -> None:
    for temporary, path in journal.header["placements"]:
        files.called[os.path.basename(temporary)] = path
    for path, backup in journal.header["displaced"]:
        files.called[os.path.basename(backup)] = path


def _mode_of(path: str, files: Filesystem) -> Tuple[int, int, int]:
    found = files.lstat(path)
    if found is None:
        raise InstallFailed(BECAUSE + "%s went away while the deployment was being installed." % path)
    return stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid


def _temporary_names(plan: Plan, token: str) -> Tuple[Dict[str, str], List[List[str]]]:
    """Where each new path is made, and the pairs (temporary, final) that are moved."""
    work: Dict[str, str] = {}
    placements: List[List[str]] = []
    for path in [*plan.created, *plan.copies]:
        parent, name = os.path.split(path)
        if parent in work:
            work[path] = os.path.join(work[parent], name)
        else:
            work[path] = os.path.join(parent, ".penstock-new-%s-%d" % (token, len(placements)))
            placements.append([work[path], path])
    return work, placements


def _prepare(plan: Plan, work: Dict[str, str], files: Filesystem) -> None:
    syncs = Syncs()
    for path in plan.created:
        files.mkdir(work[path])
    for path, source in plan.copies.items():
        _copy(source, path, work[path], plan.access.get(path), files, syncs)
    for path in reversed(plan.created):
        _finish_directory(plan.access.get(path), work[path], path, files, syncs)
    syncs.end()


def _copy(source: str, path: str, target: str, access: Optional[Access], files: Filesystem, syncs: Syncs) -> None:
    try:
        found = os.lstat(source)
        if stat.S_ISLNK(found.st_mode):
            # A link keeps the agent's user as its owner: whoever owns a link decides where it leads.
            files.symlink(os.readlink(source), target)
            return
        reader = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise InstallFailed(BECAUSE + "%s of the revision cannot be read: %s." % (source, reason(error))) from error
    try:
        writer = files.create(target)
        try:
            while _move(writer, reader):
                pass
            os.fchmod(writer, stat.S_IMODE(found.st_mode))
            os.utime(writer, ns=(found.st_atime_ns, found.st_mtime_ns))
            if access is not None:
                _apply(access, writer, path)
            syncs.add(writer)
        finally:
            os.close(writer)
    except OSError as error:
        raise InstallFailed(BECAUSE + "%s could not be written: %s." % (path, reason(error))) from error
    finally:
        os.close(reader)


def _move(writer: int, reader: int) -> int:
    data = os.read(reader, BLOCK)
    view = memoryview(data)
    while view:
        view = view[os.write(writer, view) :]
    return len(data)


def _apply(access: Access, descriptor: int, path: str) -> None:
    if access.mode is not None:
        os.fchmod(descriptor, access.mode)
    if access.acls:
        opened = "/proc/self/fd/%d" % descriptor
        done = subprocess.run(
            [setfacl() or "setfacl", "-m", ",".join(access.acls), "--", opened],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            pass_fds=[descriptor],
        )
        if done.returncode:
            said = done.stdout.decode("utf-8", "replace").strip().replace(opened, path)
            raise InstallFailed(BECAUSE + "setfacl refused %s: %s" % (",".join(access.acls), said[:300]))
    if access.uid is not None or access.gid is not None:
        # Last, as AWS's agent does it: giving a file away clears its set-uid bit.
        os.fchown(descriptor, -1 if access.uid is None else access.uid, -1 if access.gid is None else access.gid)


def _finish_directory(access: Optional[Access], at: str, path: str, files: Filesystem, syncs: Syncs) -> None:
    descriptor = files.directory(at)
    try:
        if access is not None:
            _apply(access, descriptor, path)
        syncs.add(descriptor)
    except OSError as error:
        raise InstallFailed(BECAUSE + "the permissions of %s could not be set: %s." % (path, reason(error))) from error
    finally:
        os.close(descriptor)


def _switch(journal: Journal, plan: Plan, files: Filesystem) -> None:
    for path, backup in journal.header["displaced"]:
        if path in plan.copies and path in plan.replaced and files.link(path, backup):
            continue  # the path is never without a file
        files.rename(path, backup)
        if path in plan.displaced:
            _check_ours(backup, path, plan.displaced[path], files)
    failpoint("install.within_switch")
    taken = {path for path, _ in journal.header["displaced"]}
    for temporary, path in journal.header["placements"]:
        if path in taken:
            files.rename(temporary, path)
        elif path in plan.copies:
            if not files.place(temporary, path):
                raise _came(path)
        elif files.lstat(path) is not None:
            raise _came(path)
        else:
            files.rename(temporary, path)
    syncs = Syncs()
    for path, *_ in journal.header["modes"]:
        _finish_directory(plan.access[path], path, path, files, syncs)
    syncs.end()


def _sync_parents(journal: Journal, files: Filesystem) -> None:
    """Wait until the names that were made, moved and removed are on the disk."""
    header = journal.header
    for parent in sorted({os.path.dirname(path) for _, path in (*header["placements"], *header["displaced"])}):
        files.sync(parent)


def _came(path: str) -> InstallFailed:
    return InstallFailed(BECAUSE + "%s came into being while the deployment was being installed." % path)


def _check_ours(at: str, path: str, known: Set[str], files: Filesystem) -> None:
    """Whether a directory that is about to go holds nothing but what a deployment put there."""
    for name in files.names(at):
        inner = os.path.join(path, name)
        if inner not in known:
            raise _came(inner)
        found = files.lstat(os.path.join(at, name))
        if found is not None and stat.S_ISDIR(found.st_mode):
            _check_ours(os.path.join(at, name), inner, known, files)


def _finish(journal: Journal, group: Group, files: Filesystem) -> None:
    header = journal.header
    paths = "".join(path + "\0" for path in header["cleanup"])
    write_durably(group.cleanup, os.fsencode(paths))
    for _, backup in header["displaced"]:
        files.remove_tree(backup)
    for path in header["emptied"]:
        files.rmdir(path)  # one that something else lives in stays
    _sync_parents(journal, files)  # without the journal nobody would look for the old files again
    group.set_last_successful(Deployment(header["deployment"]))
    failpoint("install.before_forget")
    journal.remove()


def _undo(journal: Journal, files: Filesystem) -> None:
    header = journal.header
    if "switch" in journal.steps and "restored" not in journal.steps:
        # All temporary names existed at `switch`: one that is gone, or has a second name, has become its destination.
        for temporary, path in reversed(header["placements"]):
            prepared, placed = files.lstat(temporary), files.lstat(path)
            if placed is not None and prepared is None:
                files.rename(path, temporary)
            elif placed is not None and prepared is not None and os.path.samestat(prepared, placed):
                files.unlink(path)
        failpoint("install.within_undo")
        for path, backup in header["displaced"]:
            kept, current = files.lstat(backup), files.lstat(path)
            if kept is None:
                continue
            if current is not None and os.path.samestat(current, kept):
                files.unlink(backup)
            else:
                files.rename(backup, path)
        for path, mode, uid, gid in header["modes"]:
            try:
                descriptor = files.directory(path)
                try:
                    os.fchmod(descriptor, mode)
                    os.fchown(descriptor, uid, gid)
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
            except (OSError, InstallFailed) as error:
                log.warning("install.mode_not_restored", path=path, reason=error)
        _sync_parents(journal, files)
        journal.mark("restored")
    for temporary, _ in header["placements"]:
        files.remove_tree(temporary)
    _sync_parents(journal, files)
    journal.remove()
