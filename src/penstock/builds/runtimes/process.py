"""The `process` runtime: plain processes of this host, as a user of their own when the server is root.

It isolates no network and no loopback services, and files only as far as file modes do. The class `Run` is used inside a
supervisor, which has the standard library and the supervisor's own modules only; hence the imports in its methods.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Any

NAME = "process"
NETWORKS = ("host",)
TREE_INSIDE = ""  # the build sees its folders where they really are


def probe(*, root: bool, allow_unisolated: bool, network: str) -> tuple[bool, str]:  # noqa: ARG001
    """Whether builds may run this way, and in words what it offers or why not."""
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

    def spawn(self, argv: list[str], *, output: int, descriptors: dict[int, int]) -> Any:
        """Start the driver."""
        from launch import start  # noqa: PLC0415 # pyright: ignore[reportMissingImports]

        def before() -> None:
            from kernel import die_with_parent  # noqa: PLC0415 # pyright: ignore[reportMissingImports]

            self.enter()
            die_with_parent(signal.SIGKILL)  # after the change of user, which would undo it

        return start(
            argv,
            output=output,
            descriptors=descriptors,
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
            cwd=self.tree,
            before=before,
        )

    def kill(self, process: Any) -> None:
        """End every process of the build, also those that left its session."""
        from launch import end_descendants, end_user  # noqa: PLC0415 # pyright: ignore[reportMissingImports]

        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if self.user:
            end_user(self.user)
        end_descendants(self.spared)

    def enter(self) -> None:
        """Become the build's user, so that reading its artifacts reads nothing that it could not."""
        if self.user:
            os.setgroups([])
            os.setgid(self.user)
            os.setuid(self.user)
