"""The `process` runtime: plain processes of this host, as a user of their own when the server is root.

It isolates no network and no loopback services, and files only as far as file modes do.
"""

from __future__ import annotations

import os
import signal

from penstock.sandbox import kernel, seccomp
from penstock.sandbox.processes import end_descendants, end_user
from penstock.sandbox.runtime import Offer, Runtime
from penstock.sandbox.specification import Layout, Specification

_FIRST_USER, _USERS = 1_200_000_000, 800_000_000  # far above the ids that machines hand out


class _Process:
    name = "process"
    preference = 90
    summary = "plain processes of this host, hardly isolated"
    needs: tuple[str, ...] = ()
    networks: tuple[str, ...] = ("host",)
    isolates = False
    moves_folders = False

    def user(self, number: int) -> int:
        return _FIRST_USER + number % _USERS if os.geteuid() == 0 else 0

    def program(self) -> str:
        """Nothing: the kernel is all that it takes."""
        return ""

    def probe(self, *, network: str, layout: Layout, allow_unisolated: bool) -> Offer:  # noqa: ARG002
        if os.geteuid() == 0:
            return Offer(
                usable=True,
                message="processes have a user id of their own; world-readable files, the network and loopback services stay open to them",
            )
        if allow_unisolated:
            return Offer(
                usable=True,
                message="processes run as the server's own user and nothing is isolated from them, as the settings allow",
            )
        return Offer(
            usable=False,
            message="without root, processes are not isolated from the server, which the settings have to allow",
        )

    def isolation(self, specification: Specification) -> _Processes:
        return _Processes(specification)

    def end_leftovers(self, specification: Specification) -> None:
        if specification.user:
            end_user(specification.user)


class _Processes:
    """The processes of one sandbox: nothing but their user holds them together."""

    def __init__(self, specification: Specification) -> None:
        self._user = specification.user
        self._folders = specification.writable
        machine = os.uname().machine
        self._filter = seccomp.program(machine) if machine in seccomp.ARCHITECTURES else b""

    def prepare(self) -> None:
        """Take charge of descendants that leave their process group."""
        kernel.adopt_orphans()

    def hand_over(self) -> None:
        for top in self._folders if self._user else ():
            os.chmod(top, 0o700)  # what it writes is nobody else's: variables of a build are in there
            for folder, _, files in os.walk(top):
                os.lchown(folder, self._user, self._user)
                for name in files:
                    os.lchown(os.path.join(folder, name), self._user, self._user)

    def begin(self, output: int) -> list[int]:  # noqa: ARG002
        """There is no sandbox to make, and no namespace to enter."""
        return []

    def approach(self, namespaces: list[int]) -> None:
        """Nothing: there is no sandbox to enter."""

    def confine(self) -> None:
        self.enter()
        kernel.die_with_parent(signal.SIGKILL)  # after the change of user, which would undo it
        kernel.confine(self._filter)

    def standing(self) -> bool:
        """Always: there is no sandbox that could end."""
        return True

    def kill(self) -> None:
        """End every process, those that left their session included."""
        if self._user:
            end_user(self._user)
        end_descendants()

    def written(self) -> tuple[list[str], list[str]]:
        return list(self._folders), []

    def let_go(self) -> None:
        """Nothing: there are no mounts."""

    def enter(self) -> None:
        """Become the processes' user, so that reading what they left reads nothing that they could not."""
        if self._user:
            os.setgroups([])
            os.setgid(self._user)
            os.setuid(self._user)


RUNTIME: Runtime = _Process()
