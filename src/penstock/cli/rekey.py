"""`penstock rekey`: another master key, while servers run.

It changes the key file only. Servers see that and seal again what is under older keys (`penstock.store.resealing`); this command waits for
them. Wherever it is stopped, it continues when it is run again: the key file says how far the change has come.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import sqlalchemy.exc

from penstock.cli import arguments
from penstock.cli.doctor import database_of, missing
from penstock.cli.exits import Exit
from penstock.cli.terminal import complain, say
from penstock.store import migrate, resealing
from penstock.store.failpoints import failpoint
from penstock.store.keyholders import Holder, holders
from penstock.store.masterkeys import (
    KeyFile,
    MasterKey,
    MasterKeyError,
    new_key,
    replace_key_file,
    source_of,
)
from penstock.store.resealing import SealedFile
from penstock.wire.tls import AUTHORITY_CONTEXT

_POLL_SECONDS = 0.5


class _Refused(Exception):
    """What cannot be done, in a sentence."""


def add_arguments(parser: argparse.ArgumentParser, _command: str) -> None:
    """The options of `rekey`."""
    arguments.add_data_dir(parser)
    arguments.add_database(parser)
    arguments.add_master_key(parser)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--dry-run", action="store_true", help="only show what is sealed under which key")
    what.add_argument(
        "--prepare", action="store_true", help="only add the new key, so that the file can be copied to other machines"
    )
    what.add_argument(
        "--remove-old", action="store_true", help="remove the keys under which nothing is sealed any more"
    )
    parser.add_argument(
        "--timeout",
        type=arguments.count(1),
        default=60,
        metavar="SECONDS",
        help="give up when nothing has been sealed again for so long; default: %(default)s",
    )
    # Seconds after which every server of this machine has read the key file again. Shorter is for proofs.
    parser.add_argument("--grace", type=float, default=5.0, help=argparse.SUPPRESS)


def run(options: argparse.Namespace) -> int:
    """Change the master key, or show what there is to do. 4 when no server seals anything again."""
    data_dir = options.data_dir.absolute()
    if not options.database and (why := missing(data_dir)):
        complain(f"penstock rekey: {why}")
        return Exit.USAGE
    try:
        with _Change(options, data_dir) as change:
            return change.run(options)
    except (_Refused, MasterKeyError) as refused:
        complain(f"penstock rekey: {refused}")
    except OSError as error:
        complain(f"penstock rekey: the key file cannot be changed: {error.strerror}")
    except sqlalchemy.exc.SQLAlchemyError as error:
        why = str(getattr(error, "orig", None) or error).partition("\n")[0]
        complain(f"penstock rekey: the database cannot be read: {why}")
    return Exit.USAGE


class _Change:
    """A change of the master key of one installation."""

    def __init__(self, options: argparse.Namespace, data_dir: Path) -> None:
        self._source = source_of(options.master_key_file, options.master_key_command, create=False)
        self._keys = self._source.read()
        self._authority = SealedFile(data_dir / "tls" / "ca.key", AUTHORITY_CONTEXT)
        migrate.import_records()
        self._engine = database_of(data_dir, options.database)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.dispose()

    def run(self, options: argparse.Namespace) -> int:
        if options.dry_run:
            return self._show()
        if not isinstance(self._source, KeyFile):
            return self._by_command(options)
        with _only_one(self._source.path):
            self._keys = self._source.read()
            if options.remove_old:
                return self._remove_old(self._source, options.grace)
            coming = any(key.next for key in self._keys)
            if options.prepare and self._olds and not coming:
                olds = ", ".join(key.id.hex() for key in self._olds)
                raise _Refused(
                    f"{olds} still opens, from the change before. Complete that by `penstock rekey` and `penstock rekey --remove-old`, and "
                    "prepare another key then"
                )
            if not self._olds or coming:
                self._prepare(self._source.path)
                if options.prepare:
                    return Exit.DONE
                if not self._promote(self._source.path, options):
                    return Exit.TIMED_OUT
            return self._wait(options.timeout, options.grace)

    @property
    def _newest(self) -> MasterKey:
        return [key for key in self._in_file if not key.next][-1]

    @property
    def _in_file(self) -> list[MasterKey]:
        """The keys that are not retired."""
        return [key for key in self._keys if not key.retired]

    @property
    def _olds(self) -> list[MasterKey]:
        """The keys that have sealed before the newest, and open everything still."""
        return [key for key in self._in_file if key is not self._newest and not key.next]

    def _prepare(self, path: Path) -> None:
        """Let every process open with a new key, before any seals with it."""
        if not any(key.next for key in self._keys):
            added = new_key()._replace(next=True)
            self._keys = [*(key for key in self._keys if key.retired), added, *self._in_file]
            replace_key_file(path, self._in_file)
        failpoint("rekey.prepared")
        added = next(key for key in self._keys if key.next)
        say(f"{path} has a new key, {added.id.hex()}, which opens and does not seal yet.")
        say("Other machines of this installation need a copy of the file now.")

    def _promote(self, path: Path, options: argparse.Namespace) -> bool:
        """Let the new key seal, once every process opens with it; whether it does."""
        time.sleep(options.grace)
        waiting = [key for key in self._keys if key.next]
        if lacking := self._those_without(
            lambda one: {key.id.hex() for key in waiting} <= set(one.opens), options.timeout
        ):
            complain(
                f"penstock rekey: {lacking} lacks the new key, and could not open what is sealed with it, so nothing is. Copy {path} to that "
                "machine, or end the process, and run this again"
            )
            return False
        self._keys = [*(key for key in self._keys if not key.next), *(key._replace(next=False) for key in waiting)]
        replace_key_file(path, self._in_file)
        failpoint("rekey.promoted")
        say(f"From now on {self._newest.id.hex()} seals.")
        return True

    def _wait(self, timeout: int, grace: float) -> int:
        """Until every process seals with the new key, and servers have sealed everything again."""
        if lacking := self._those_without(self._seals_with_newest, timeout):
            complain(
                f"penstock rekey: {lacking} still seals with an older key. Copy the key file to that machine as it is now, or end the process, "
                "and run this again"
            )
            return Exit.TIMED_OUT
        seen, since, again = -1, time.monotonic(), False
        while True:
            began = time.monotonic()
            left = self._under_others().total()
            if not left and again:
                break
            again = not left
            if again:  # what a request had sealed a moment before its process had the new key may be committed only now
                time.sleep(grace)
                continue
            if left != seen:
                say("1 value is under an older key" if left == 1 else f"{left} values are under older keys")
                seen, since = left, time.monotonic()
            elif time.monotonic() - since > timeout:
                complain(
                    f"penstock rekey: {left} values are under older keys, and none was sealed again for {timeout} seconds. Servers do it "
                    "while they run: start one with this key file, see what it logs, and run this again"
                )
                return Exit.TIMED_OUT
            # Counting reads all of a large installation's rows: it has a fifth of the time.
            time.sleep(_POLL_SECONDS + 4 * (time.monotonic() - began))
        olds = ", ".join(key.id.hex() for key in self._olds)
        say(f"Everything is sealed under {self._newest.id.hex()}.")
        say(f"{olds} still opens sessions, sign-in links and copies: `penstock rekey --remove-old` ends that.")
        return Exit.DONE

    def _remove_old(self, file: KeyFile, grace: float) -> int:
        if any(key.next for key in self._keys):
            raise _Refused("a new key is prepared and does not seal yet: run `penstock rekey` first")
        if not self._olds:
            say("There is one key only.")
            return Exit.DONE
        if lacking := self._those_without(self._seals_with_newest):
            complain(
                f"penstock rekey: {lacking} still seals with an older key, which is needed for what it seals. Run `penstock rekey` first"
            )
            return Exit.FAILED
        left = self._under_others()
        if not left.total():  # what was being written when its process had the new key may be committed only now
            time.sleep(grace)
            left = self._under_others()
        if left.total():
            where = ", ".join(f"{name} ({number})" for name, number in left.items())
            complain(
                f"penstock rekey: older keys are needed still, for {where}. Run `penstock rekey` while a server runs; what never opens "
                "is damaged, and is restored from a backup or deleted"
            )
            return Exit.FAILED
        file.retire(self._olds)
        failpoint("rekey.retired")
        replace_key_file(file.path, [self._newest])
        say(
            f"{file.path} has {self._newest.id.hex()} only. Sessions and sign-in links that older keys have sealed are over."
        )
        say(
            f"Servers still read what is kept under the keys in {file.retired}: backups of before the change, other data dirs that use this file, "
            "and what a process that was stopped meanwhile has sealed. Keep that file as long as those, and copy it to machines that have a copy "
            "of the key file."
        )
        return Exit.DONE

    def _by_command(self, options: argparse.Namespace) -> int:
        if options.remove_old or options.prepare or not self._olds:
            raise _Refused(
                "the command that gives the master keys gives new ones too. Let it print one more line, marked `next`, and restart every "
                "process; then print that line last and without the mark, restart them again, and run this"
            )
        return self._wait(options.timeout, options.grace)

    def _show(self) -> int:
        known = {key.id: self._state(key) for key in self._keys}
        for key in self._keys:
            say(f"{key.id.hex()}  {known[key.id]}")
        for name, under in self._counted().items():
            for key_id, number in sorted(under.items()):
                say(f"{number:>9} of {name:<40} under {key_id.hex()} ({known.get(key_id, 'no key that is here')})")
        return Exit.DONE

    def _state(self, key: MasterKey) -> str:
        return "retired" if key.retired else "next" if key.next else "seals" if key is self._newest else "old"

    def _counted(self) -> dict[str, Counter[bytes]]:
        with self._engine.connect() as conn:
            found = resealing.count(conn)
        key_id = self._authority.key_id()
        return found if key_id is None else {**found, str(self._authority.path): Counter({key_id: 1})}

    def _seals_with_newest(self, one: Holder) -> bool:
        return one.seals == self._newest.id.hex()

    def _those_without(self, fits: Callable[[Holder], bool], timeout: float = 0) -> str:
        """The first of the processes that are there and do not fit, when none of them has come to for so long (s); "" when all fit."""
        until = time.monotonic() + timeout
        while True:
            with self._engine.connect() as conn:
                lacking = [one for one in holders(conn) if not fits(one)]
            if not lacking or time.monotonic() >= until:
                return str(lacking[0]) if lacking else ""
            time.sleep(_POLL_SECONDS)

    def _under_others(self) -> Counter[str]:
        """How many values of which column are under a key that does not seal."""
        newest = self._newest.id
        counted = self._counted()
        return +Counter({name: under.total() - under[newest] for name, under in counted.items()})


@contextlib.contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Of these commands for one key file at a time. Raises _Refused."""
    folder = os.open(path.resolve().parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _Refused(f"another `penstock rekey` is at work on {path}") from None
        yield
    finally:
        os.close(folder)
