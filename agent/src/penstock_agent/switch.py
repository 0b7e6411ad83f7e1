"""Carrying out an install plan so that it happens whole or not at all, also across kill -9.

Everything new is first made under temporary names beside its destination. Then a journal that is already on the disk
gets the word `switch`, old files move to names of their own, new ones to theirs, and the journal gets `commit`.
Whoever finds a journal without `commit` puts the old files back; with it, finishes. Every step can be repeated.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
from typing import Any, Dict, List, Optional, Tuple

from penstock_agent import log
from penstock_agent.crash import point
from penstock_agent.failures import BECAUSE, InstallFailed
from penstock_agent.install import Access, Plan, setfacl
from penstock_agent.layout import Deployment, Group, remove_tree, write_durably

BLOCK = 1 << 20


class Journal:
    """One journal file: a header line of JSON, then words."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.header: Dict[str, Any] = {}
        self.words: List[str] = []

    def create(self, header: Dict[str, Any]) -> None:
        """Write the header, durable when this returns."""
        self.header = header
        write_durably(self.path, (json.dumps(header) + "\n").encode("ascii"))

    def load(self) -> bool:
        """Read it; False when there is none."""
        try:
            with open(self.path, encoding="ascii") as file:
                lines = file.read().split("\n")
        except FileNotFoundError:
            return False
        self.header = json.loads(lines[0])
        self.words = lines[1:]
        return True

    def mark(self, word: str) -> None:
        """Append a word, durable when this returns."""
        with open(self.path, "ab", buffering=0) as file:
            file.write((word + "\n").encode("ascii"))
            os.fdatasync(file.fileno())
        self.words.append(word)

    def remove(self) -> None:
        """It is over."""
        os.unlink(self.path)


def install(plan: Plan, group: Group, deployment: Deployment, token: str) -> None:
    """Carry out `plan`. `token` makes the temporary names: letters and digits, another one for every try.

    Raises:
        InstallFailed: something could not be done; everything is as it was.
    """
    work, placements = _temporary_names(plan, token)
    displaced = [*plan.removed, *sorted(plan.replaced), *plan.displaced]
    journal = Journal(group.journal)
    journal.create(
        {
            "placements": placements,
            "displaced": [
                [path, os.path.join(os.path.dirname(path), ".penstock-old-%s-%d" % (token, number))]
                for number, path in enumerate(displaced)
            ],
            "modes": [[path, *_mode_of(path)] for path in plan.kept if path in plan.access],
            "cleanup": plan.cleanup,
            "emptied": plan.emptied,
            "deployment": deployment.directory,
        }
    )
    try:
        point("install.before_prepare")
        _prepare(plan, work)
        point("install.before_switch")
        journal.mark("switch")
        _switch(journal, plan)
        point("install.before_commit")
        journal.mark("commit")
    except Exception as error:  # an owner too large for the system is no OSError
        _undo(journal)
        if isinstance(error, InstallFailed):
            raise
        raise InstallFailed(BECAUSE + "files could not be installed: %s" % error) from error
    point("install.after_commit")
    _finish(journal, group)


def recover(group: Group) -> Optional[str]:
    """Finish or undo what a killed agent left; "finished", "undone" or None when there was nothing."""
    journal = Journal(group.journal)
    if not journal.load():
        return None
    if "commit" in journal.words:
        _finish(journal, group)
        return "finished"
    _undo(journal)
    return "undone"


def _mode_of(path: str) -> Tuple[int, int, int]:
    found = os.lstat(path)
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


def _prepare(plan: Plan, work: Dict[str, str]) -> None:
    for path in plan.created:
        os.mkdir(work[path])
    for path, source in plan.copies.items():
        _copy(source, work[path])
    for path in [*plan.copies, *reversed(plan.created)]:
        access = plan.access.get(path)
        if access is not None:
            _apply(access, work[path])


def _copy(source: str, target: str) -> None:
    found = os.lstat(source)
    if stat.S_ISLNK(found.st_mode):
        os.symlink(os.readlink(source), target)
        return
    reader = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        writer = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            while _move(writer, reader):
                pass
            os.fchmod(writer, stat.S_IMODE(found.st_mode))
            os.utime(writer, ns=(found.st_atime_ns, found.st_mtime_ns))
        finally:
            os.close(writer)
    finally:
        os.close(reader)


def _move(writer: int, reader: int) -> int:
    data = os.read(reader, BLOCK)
    view = memoryview(data)
    while view:
        view = view[os.write(writer, view) :]
    return len(data)


def _apply(access: Access, path: str) -> None:
    link = os.path.islink(path)
    if access.mode is not None and not link:
        os.chmod(path, access.mode)
    if access.acls and not link:
        command = [setfacl() or "setfacl", "-m", ",".join(access.acls), "--", path]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        if done.returncode:
            raise InstallFailed(
                BECAUSE
                + "setfacl refused %s: %s"
                % (",".join(access.acls), done.stdout.decode("utf-8", "replace").strip()[:300])
            )
    if access.uid is not None or access.gid is not None:
        # Last, as AWS's agent does it: giving a file away clears its set-uid bit.
        os.chown(
            path,
            -1 if access.uid is None else access.uid,
            -1 if access.gid is None else access.gid,
            follow_symlinks=False,
        )


def _switch(journal: Journal, plan: Plan) -> None:
    files = set(plan.copies)
    for path, backup in journal.header["displaced"]:
        if path in files and path in plan.replaced:
            try:
                os.link(path, backup, follow_symlinks=False)  # the path is never without a file
                continue
            except OSError:
                pass
        os.rename(path, backup)
    point("install.within_switch")
    taken = {path for path, _ in journal.header["displaced"]}
    for temporary, path in journal.header["placements"]:
        if path not in taken and os.path.lexists(path):
            raise InstallFailed(BECAUSE + "%s came into being while the deployment was being installed." % path)
        os.rename(temporary, path)
    for path, *_ in journal.header["modes"]:
        _apply(plan.access[path], path)


def _finish(journal: Journal, group: Group) -> None:
    header = journal.header
    lines = "".join(path + "\n" for path in header["cleanup"])
    write_durably(group.cleanup, os.fsencode(lines))
    for _, backup in header["displaced"]:
        remove_tree(backup)
    for path in header["emptied"]:
        try:
            os.rmdir(path)
        except OSError:
            continue  # something else lives there
    group.set_last_successful(Deployment(header["deployment"]))
    point("install.before_forget")
    journal.remove()


def _undo(journal: Journal) -> None:
    header = journal.header
    if "switch" in journal.words and "restored" not in journal.words:
        # All temporary names existed at `switch`: one that is gone has become its destination.
        for temporary, path in reversed(header["placements"]):
            if not os.path.lexists(temporary) and os.path.lexists(path):
                os.rename(path, temporary)
        point("install.within_undo")
        for path, backup in header["displaced"]:
            if not os.path.lexists(backup):
                continue
            if os.path.lexists(path) and os.path.samestat(os.lstat(path), os.lstat(backup)):
                os.unlink(backup)
            else:
                os.rename(backup, path)
        for path, mode, uid, gid in header["modes"]:
            try:
                os.chmod(path, mode)
                os.chown(path, uid, gid)
            except OSError as error:
                log.warning("install.mode_not_restored", path=path, reason=error)
        journal.mark("restored")
    for temporary, _ in header["placements"]:
        remove_tree(temporary)
    journal.remove()
