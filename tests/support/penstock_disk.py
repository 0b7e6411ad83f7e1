"""What a disk may hold after a power failure, rebuilt from a recorded run.

strace writes down every change that a program makes below a folder (`command`), and `replay` follows it on a model of the folder. The
model knows what each fsync has made sure of. What was not synced may be there or not, in any mixture: each sector of a file, and its
length, as they were at some moment since (so that zeros may stand before what came later), the entries of a directory from any change on (a
directory's changes reach the disk in their order, those of two directories in any). `Disk.failed` gives the mildest and the harshest of those states, and others by a seed. A call that the model does
not know is an error, and `Disk.same_as` compares the model with the real folder, so that nothing is overlooked.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

_CALLS = (
    "open,openat,creat,write,pwrite64,writev,pwritev,pwritev2,lseek,ftruncate,truncate,fallocate,sendfile,copy_file_range,"
    "rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,rmdir,symlink,symlinkat,fsync,fdatasync,"
    "chmod,fchmod,fchmodat"
)
_SECTOR = 512
_VOLATILE = ("-shm", ".lock")  # SQLite makes its index of the log anew; a lock is held by a process, not by the file


def command(folder: Path, log: Path) -> list[str]:
    """What is put before a command line so that its changes below `folder`, an absolute path, are written to `log`."""
    return ["strace", "-f", "-qq", "-y", "-xx", "-s", "67108864", "--seccomp-bpf", "-e", "signal=none", "-e", f"trace={_CALLS}", "-o", str(log)]  # fmt: skip


@dataclass(eq=False)
class Node:
    """A file, a directory or a symbolic link."""

    kind: str
    mode: int = 0o600
    synced: bytes = b""
    now: bytearray = field(default_factory=bytearray)
    changes: list[tuple[int, bytes | None]] = field(default_factory=list)  # unsynced: where and what; None cuts
    position: int = 0
    appends: bool = False
    target: str = ""
    entries: dict[str, Node] = field(default_factory=dict)
    synced_entries: dict[str, Node] = field(default_factory=dict)
    moves: list[list[tuple[str, Node | None]]] = field(default_factory=list)  # unsynced: names that come, or go

    def write(self, offset: int, data: bytes | None) -> None:
        """Write at an offset, or cut there."""
        _apply(self.now, offset, data)
        self.changes.append((offset, data))

    def change(self, *names: tuple[str, Node | None]) -> None:
        """Change names of a directory in one step."""
        _rename(self.entries, names)
        self.moves.append(list(names))

    def failed(self, rng: random.Random) -> bytes:
        """What of a file's bytes is there after a failure: all, what was synced, or a mixture."""
        kind = rng.random()
        if kind < 0.3 or not self.changes:
            return bytes(self.now)
        if kind < 0.6:
            return self.synced
        length = max(len(self.synced), *(offset + len(data or b"") for offset, data in self.changes))
        found, state, size = bytearray(length), bytearray(self.synced), rng.randint(0, len(self.changes))
        moments: dict[int, list[int]] = {}
        for sector in range(0, length, _SECTOR):
            moments.setdefault(rng.randint(0, len(self.changes)), []).append(sector)
        for moment, change in enumerate([(len(state), None), *self.changes]):
            _apply(state, *change)
            for sector in moments.get(moment, ()):
                piece = state[sector : sector + _SECTOR]
                found[sector : sector + len(piece)] = piece
            if moment == size:
                length = len(state)
        return bytes(found[:length])

    def sync(self) -> None:
        self.synced, self.changes = bytes(self.now), []
        self.synced_entries, self.moves = dict(self.entries), []


def _apply(content: bytearray, offset: int, data: bytes | None) -> None:
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    if data is None:
        del content[offset:]
    else:
        content[offset : offset + len(data)] = data


def _rename(entries: dict[str, Node], names: Iterable[tuple[str, Node | None]]) -> None:
    for name, node in names:
        if node is None:
            entries.pop(name, None)
        else:
            entries[name] = node


class Disk:
    """A folder as the model has it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = Node("directory", 0o700)
        self._cwd: dict[str, str] = {}
        self._followed = 0  # bytes of the log
        self._unfinished: dict[str, str] = {}  # calls that a process is in

    # --- the state after a failure ------------------------------------------------------------------------------------

    def failed(self, target: Path, how: str | int) -> None:
        """Write a legal state to `target`: "harsh" (only what was synced), "mild" (all), "hollow" (names without the bytes), or by a seed."""
        rng = random.Random(how)  # noqa: S311 -- a state that can be made again
        written: dict[Node, Path] = {}

        def content(node: Node) -> bytes:
            if how == "mild":
                return bytes(node.now)
            return node.failed(rng) if isinstance(how, int) else node.synced

        def entries(node: Node) -> dict[str, Node]:
            if how in ("mild", "hollow"):
                return node.entries
            kept = dict(node.synced_entries)
            for names in node.moves[: rng.randint(0, len(node.moves))] if isinstance(how, int) else ():
                _rename(kept, names)
            return kept

        def write(node: Node, path: Path) -> None:
            path.mkdir(mode=0o700)
            for name, child in entries(node).items():
                if name.endswith(_VOLATILE):
                    continue
                if child.kind == "directory":
                    write(child, path / name)
                elif child.kind == "link":
                    (path / name).symlink_to(child.target)
                elif child in written:
                    os.link(written[child], path / name)
                else:
                    (path / name).write_bytes(content(child))
                    (path / name).chmod(child.mode)
                    written[child] = path / name
            path.chmod(node.mode)

        write(self.root, target)

    def files(self) -> dict[str, bytes]:
        """Every file's bytes by its path below the folder."""
        found: dict[str, bytes] = {}

        def walk(node: Node, path: str) -> None:
            for name, child in node.entries.items():
                if child.kind == "directory":
                    walk(child, f"{path}{name}/")
                elif child.kind == "file" and not name.endswith(_VOLATILE):
                    found[path + name] = bytes(child.now)

        walk(self.root, "")
        return found

    def same_as(self, folder: Path) -> None:
        """Assert that the model has followed everything: it holds what the real folder holds."""
        real = {
            str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file() and not path.is_symlink() and not path.name.endswith(_VOLATILE)
        }
        modelled = self.files()
        assert real.keys() == modelled.keys(), real.keys() ^ modelled.keys()
        assert not [name for name in real if real[name] != modelled[name]]

    # --- the recorded calls -------------------------------------------------------------------------------------------

    def follow(self, log: Path, end: int | None = None) -> None:
        """Take in the recorded calls from where the last call of this stopped, to the last line before the `end`th byte of the log."""
        assert end is None or end >= self._followed, "a disk does not go back in time"
        with log.open("rb") as file:
            file.seek(self._followed)
            text = file.read() if end is None else file.read(end - self._followed)
        lines = text[: text.rfind(b"\n") + 1]
        self._followed += len(lines)
        for line in lines.decode("ascii").splitlines():
            process, _, rest = line.partition(" ")
            rest = rest.lstrip()
            if rest.endswith("<unfinished ...>"):
                self._unfinished[process] = rest.removesuffix("<unfinished ...>").rstrip()
                continue
            if resumed := re.match(r"<\.\.\. \w+ resumed>", rest):
                rest = self._unfinished.pop(process, "") + rest[resumed.end() :]
            call = re.match(r"(\w+)\((.*)\)\s+= (\S+)", rest)
            if call is not None and not call[3].startswith(("-", "?")):
                self._take(process, call[1], _arguments(call[2]), call[3])

    def _path(self, process: str, argument: str, directory: str = "") -> str:
        """An argument's absolute path; "" for one outside of the folder."""
        if directory:
            found = re.match(r"(?:AT_FDCWD|\d+)<(.*)>$", directory)
            base = _plain(found[1]) if found else ""
            if directory.startswith("AT_FDCWD") and base:
                self._cwd[process] = base
        else:
            base = self._cwd.get(process, "")
        path = os.path.normpath(os.path.join(base, _plain(argument.strip('"'))))
        return path if path.startswith(f"{self.folder}/") or path == str(self.folder) else ""

    def _node(self, path: str) -> Node | None:
        node: Node | None = self.root
        for part in Path(path).relative_to(self.folder).parts:
            node = node.entries.get(part) if node else None
        return node

    def _parent(self, path: str) -> tuple[Node, str]:
        parent = self._node(os.path.dirname(path))
        assert parent is not None, f"a folder that the model does not know: {path}"
        return parent, os.path.basename(path)

    def _descriptor(self, argument: str) -> Node | None:
        # "(deleted)" follows one without a name, which no failure leaves behind.
        found = re.match(r"\d+<(.*)>$", argument)
        path = _plain(found[1]) if found else ""
        return self._node(path) if path.startswith(str(self.folder)) else None

    def _take(self, process: str, name: str, arguments: list[str], result: str) -> None:
        match name:
            case "open" | "creat":
                self._open(self._path(process, arguments[0]), arguments[1:])
            case "openat":
                self._open(self._path(process, arguments[1], arguments[0]), arguments[2:])
            case "mkdir" | "mkdirat":
                self._made(process, arguments, Node("directory", 0o700))
            case "symlink" | "symlinkat":
                path = self._path(process, arguments[-1], arguments[1] if name == "symlinkat" else "")
                if path:
                    parent, last = self._parent(path)
                    parent.change((last, Node("link", target=_plain(arguments[0].strip('"')))))
            case "link" | "rename":
                self._moved(name, self._path(process, arguments[0]), self._path(process, arguments[1]))
            case "linkat" | "renameat" | "renameat2":
                paths = self._path(process, arguments[1], arguments[0]), self._path(process, arguments[3], arguments[2])
                assert name != "renameat2" or "EXCHANGE" not in arguments[4]
                self._moved(name, *paths)
            case "unlink" | "rmdir" | "unlinkat":
                path = self._path(process, arguments[name == "unlinkat"], arguments[0] if name == "unlinkat" else "")
                if path:
                    parent, last = self._parent(path)
                    parent.change((last, None))
            case "truncate" | "chmod":
                path = self._path(process, arguments[0])
                if path and (node := self._node(path)):
                    self._altered(name, node, arguments[1])
            case "fchmodat":
                path = self._path(process, arguments[1], arguments[0])
                if path and (node := self._node(path)):
                    self._altered("chmod", node, arguments[2])
            case _:
                if node := self._descriptor(arguments[0]):
                    self._written(name, node, arguments, result)

    def _open(self, path: str, arguments: list[str]) -> None:
        flags = arguments[0] if arguments else "O_CREAT|O_TRUNC"
        if not path or "O_DIRECTORY" in flags or "O_TMPFILE" in flags or "O_RDONLY" in flags:
            return
        node = self._node(path)
        if node is None:
            parent, last = self._parent(path)
            node = Node("file", int(arguments[1], 8) & 0o755 if len(arguments) > 1 else 0o600)
            parent.change((last, node))
        elif "O_TRUNC" in flags and node.now:
            node.write(0, None)
        node.position, node.appends = 0, "O_APPEND" in flags

    def _made(self, process: str, arguments: list[str], node: Node) -> None:
        path = self._path(process, arguments[-2], arguments[0] if len(arguments) == 3 else "")
        if path and path != str(self.folder):
            parent, last = self._parent(path)
            parent.change((last, node))

    def _moved(self, name: str, old: str, new: str) -> None:
        if not old and not new:
            return
        assert all((old, new)), f"between the folder and elsewhere: {old} {new}"
        (parent, last), (other, first) = self._parent(old), self._parent(new)
        node = parent.entries[last]
        if name.startswith("link"):
            other.change((first, node))
        elif parent is other:
            parent.change((last, None), (first, node))
        else:
            other.change((first, node))
            parent.change((last, None))

    @staticmethod
    def _altered(name: str, node: Node, argument: str) -> None:
        if name == "chmod":
            node.mode = int(argument, 8)
        else:
            node.write(int(argument), None)

    def _written(self, name: str, node: Node, arguments: list[str], result: str) -> None:
        match name:
            case "fsync" | "fdatasync":
                node.sync()
            case "lseek":
                node.position = int(result)
            case "ftruncate":
                size = int(arguments[1])
                node.write(size, None)
            case "fchmod":
                node.mode = int(arguments[1], 8)
            case "pwrite64":
                node.write(int(arguments[3]), _data(arguments[1])[: int(result)])
            case "write" | "writev":
                data = b"".join(_data(each) for each in re.findall(r'"[^"]*"', arguments[1]))[: int(result)]
                at = len(node.now) if node.appends else node.position
                node.write(at, data)
                node.position = at + len(data)
            case _:
                raise AssertionError(f"the model does not know {name} of a file in the folder")


def _arguments(text: str) -> list[str]:
    """The arguments of a call: strings are written in hexadecimal, so that no comma is within one; lists are one argument."""
    found, depth, begin = [], 0, 0
    for mark in re.finditer(r"[][{},]", text):  # a megabyte that is written has four of letters between two of them
        if mark[0] in "[{":
            depth += 1
        elif mark[0] in "]}":
            depth -= 1
        elif not depth:
            found.append(text[begin : mark.start()].strip())
            begin = mark.end()
    return [*found, text[begin:].strip()] if text else []


def _plain(text: str) -> str:
    return os.fsdecode(_data(text)) if "\\x" in text else text


def _data(text: str) -> bytes:
    return bytes.fromhex(text.strip('"').replace("\\x", ""))
