"""The `process` runtime: plain processes of this host, as a user of their own when the server is root.

It isolates no network and no loopback services, and files only as far as file modes do. The class `Run` is used inside a
supervisor, which has the standard library and the supervisor's own modules only; hence the imports in its methods.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # every supervisor starts with this module: what it does not run with is not imported
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from penstock.builds.runtimes import Layout

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NAME = "process"
NETWORKS = ("host",)
TREE_INSIDE = ""  # the build sees its folders where they really are


def probe(*, root: bool, allow_unisolated: bool, network: str, layout: Layout) -> tuple[bool, str]:  # noqa: ARG001
    """Whether builds may run this way, and what it offers or why not."""
    if root:
        return True, (
            "each build runs as a user id of its own; world-readable files, the network and loopback services stay open to it"
        )
    if allow_unisolated:
        return True, "builds run as the server's own user and nothing is isolated from them (allow_unisolated_builds)"
    return (
        False,
        "without root, processes are not isolated from the server; allow_unisolated_builds permits it all the same",
    )


class Run:
    """One build as processes of the host."""

    def __init__(self, job: dict[str, Any], directory: str) -> None:  # noqa: ARG002
        self.tree = str(job["tree"])
        self.user = int(job["user"])
        self.scripts = os.path.join(self.tree, "readonly")
        self.state = os.path.join(self.tree, "output", "tmp")
        self.inside = {"scripts": self.scripts, "state": self.state, "source": str(job["source"])}
        self.spared: set[int] = set()  # children that are not the build's
        self.enter_groups: Callable[[], None] = lambda: None  # puts a process of the build under its limits

    def prepare(self) -> None:
        """Take charge of descendants that leave their process group."""
        from kernel import adopt_orphans  # noqa: PLC0415 # pyright: ignore[reportMissingImports]

        adopt_orphans()

    def hand_over(self) -> None:
        """Give the build's folders to its user; its scripts stay ours."""
        if self.user:
            for folder, _, files in os.walk(os.path.join(self.tree, "output")):
                os.lchown(folder, self.user, self.user)
                for name in files:
                    os.lchown(os.path.join(folder, name), self.user, self.user)

    def begin(self, output: int) -> None:  # noqa: ARG002
        """Nothing: there is no sandbox to make."""
        from seccomp import ARCHITECTURES, program  # noqa: PLC0415 # pyright: ignore[reportMissingImports]

        machine = os.uname().machine
        self.filter = program(machine) if machine in ARCHITECTURES else b""

    def step(self, argv: list[str], *, output: int, descriptors: dict[int, int]) -> Any:
        """Start a program as the build's user."""
        from launch import start  # noqa: PLC0415 # pyright: ignore[reportMissingImports]

        return start(
            argv, output=output, descriptors=descriptors, env={"PATH": PATH}, cwd=self.tree, before=self._confined
        )

    def _confined(self) -> None:
        import signal  # noqa: PLC0415

        import kernel  # noqa: PLC0415 # pyright: ignore[reportMissingImports]

        self.enter_groups()
        self.enter()
        kernel.die_with_parent(signal.SIGKILL)  # after the change of user, which would undo it
        kernel.confine(self.filter)

    def standing(self) -> bool:
        """Always: there is no sandbox that could end."""
        return True

    def kill(self) -> None:
        """End every process of the build, also those that left its session."""
        from launch import end_descendants, end_user  # noqa: PLC0415 # pyright: ignore[reportMissingImports]

        if self.user:
            end_user(self.user)
        end_descendants(self.spared)

    def folders(self) -> tuple[list[str], list[str]]:
        """Where the build writes, and the mounts below that are to be passed over when it is counted."""
        return [os.path.join(self.tree, "output")], []

    def let_go(self) -> None:
        """Nothing: there are no mounts."""

    def enter(self) -> None:
        """Become the build's user, so that reading its artifacts reads nothing that it could not."""
        if self.user:
            os.setgroups([])
            os.setgid(self.user)
            os.setuid(self.user)
