"""What a runtime is: a way to isolate processes. One file of `runtimes/` each, which exports it as `RUNTIME`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from penstock.sandbox.specification import Layout, Specification


class RuntimeRefused(Exception):
    """No sandbox may be made as it was asked for; the message says why and what to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a runtime can do on this machine."""

    usable: bool
    message: str  # what its sandboxes are like, or why there can be none
    runs_as: bool = False  # their processes may become other users of the sandbox


class Isolation(Protocol):
    """One sandbox in the hands of a runtime, used in its supervisor: prepare, hand over, begin, then kill and let go.

    `approach` and `confine` are for the process that starts the sandbox's programs, `enter` for one that reads what they left.
    """

    def prepare(self) -> None:
        """Leave what of the host the sandbox may not share, and put its root together. Raises OSError."""
        ...

    def hand_over(self) -> None:
        """Make the writable folders the processes' own. Raises OSError."""
        ...

    def begin(self, output: int) -> list[int]:
        """Make the sandbox, and wait until it stands; descriptors of its namespaces. What goes wrong is said on `output`. Raises OSError."""
        ...

    def approach(self, namespaces: list[int]) -> None:
        """Enter all but the sandbox's files, which its processes could have changed; `namespaces` is what `begin` gave. Raises OSError."""
        ...

    def confine(self) -> None:
        """Enter the sandbox for good, and give up what its processes may not do. Raises OSError."""
        ...

    def standing(self) -> bool:
        """Whether the sandbox is there still."""
        ...

    def kill(self) -> None:
        """End every process of the sandbox."""
        ...

    def written(self) -> tuple[list[str], list[str]]:
        """The folders that its processes write to, and the mounts below that are to be passed over when these are counted."""
        ...

    def let_go(self) -> None:
        """Take the mounts off the folders, so that these can be deleted."""
        ...

    def enter(self) -> None:
        """See files as the processes saw them; they are dead by now. Raises OSError."""
        ...


class Runtime(Protocol):
    """A way to isolate processes, and all that the rest of the program knows of it."""

    @property
    def name(self) -> str:
        """What settings, logs and its page in docs/reference/runtimes call it."""
        ...

    @property
    def preference(self) -> int:
        """Its place among those that work here; the lowest is taken."""
        ...

    @property
    def summary(self) -> str:
        """A clause for `--help`."""
        ...

    @property
    def needs(self) -> tuple[str, ...]:
        """Packages that have to be installed."""
        ...

    @property
    def networks(self) -> tuple[str, ...]:
        """The network modes that it has, the best first."""
        ...

    @property
    def isolates(self) -> bool:
        """Whether its processes are kept apart from the host's files and network."""
        ...

    @property
    def moves_folders(self) -> bool:
        """Whether processes see the sandbox's folders at a place of their own, and have a home there."""
        ...

    def user(self, number: int) -> int:
        """The id that the processes of a sandbox have on this host, by a number of the caller's; 0: the server's own."""
        ...

    def program(self) -> str:
        """The path of the program that makes its sandboxes, for the specification; "" when it takes none, or it is not installed."""
        ...

    def probe(self, *, network: str, layout: Layout, allow_unisolated: bool) -> Offer:
        """Whether sandboxes can be made here. Runs child processes. Raises RuntimeRefused when no other runtime may be tried either."""
        ...

    def isolation(self, specification: Specification) -> Isolation:
        """One sandbox. Only in a supervisor."""
        ...

    def end_leftovers(self, specification: Specification) -> None:
        """End what is left of a sandbox whose supervisor was killed."""
        ...
