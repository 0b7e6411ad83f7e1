"""The `process` runtime: plain processes of this host, as a user of their own when the server is root.

It isolates no network and no loopback services, and files only as far as file modes do. The class `Run` is used inside a
supervisor, which has the standard library and the supervisor's own modules only; hence the imports in its methods.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # every supervisor starts with this module: what it does not run with is not imported
if TYPE_CHECKING:
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
        import seccomp  # noqa: PLC0415 # pyright: ignore[reportMissingImports]

        self.tree = str(job["tree"])
        self.user = int(job["user"])
        self.scripts = os.path.join(self.tree, "readonly")
        self.state = os.path.join(self.tree, "output", "tmp")
        self.inside = {"scripts": self.scripts, "state": self.state, "source": str(job["source"])}
        self.path = PATH
        machine = os.uname().machine
        self.filter = seccomp.program(machine) if machine in seccomp.ARCHITECTURES else b""

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

    def begin(self, output: int) -> list[int]:  # noqa: ARG002
        """There is no sandbox to make, and no namespace to enter."""
        return []

    def approach(self, namespaces: list[int]) -> None:
        """Nothing: there is no sandbox to enter."""

    def confine(self) -> None:
        """Become the build's user, and give up what a build may not do. Raises OSError."""
        import signal  # noqa: PLC0415

        import kernel  # noqa: PLC0415 # pyright: ignore[reportMissingImports]

        os.chdir(self.tree)
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
        end_descendants()

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
