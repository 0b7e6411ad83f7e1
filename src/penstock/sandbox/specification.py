"""What a sandbox is to be: written by the server, read by the supervisor that makes it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Paths of this host: the server's own, which no sandbox may show, and folders that are shown beside the system's."""

    hidden: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A folder that is made for the sandbox."""

    path: str  # on this host
    inside: str  # where the sandbox's processes see it; `path` where the runtime moves nothing
    writable: bool = False  # theirs, or only to be read


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the processes of a sandbox may use together."""

    memory: int  # bytes
    cpus: float
    processes: int
    disk: int  # bytes
    seconds: float  # of the clock, from the sandbox's beginning to its end


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A socket on the sandbox's loopback, served by the relay in the host's network."""

    name: str  # endpoint | credentials | egress
    address: str
    port: int = 0  # 0 takes a free one


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What the processes reach."""

    mode: str  # egress | endpoint | host
    target_host: str = ""  # the server's own address
    target_port: int = 0
    listeners: tuple[Listener, ...] = ()
    private: tuple[str, ...] = ()  # CIDRs that may be reached beside public addresses
    hosts: tuple[str, ...] = ()  # names that lead to the sandbox's loopback
    token: str = field(default="", repr=False)  # opens the credentials listener


@dataclass(frozen=True, slots=True, kw_only=True)
class Specification:
    """One sandbox."""

    runtime: str
    program: str  # of the runtime, as the server found it
    subject: str  # what runs in it, as messages call it: build
    directory: str  # the supervisor's own folder, where the root is put together
    user: int  # id that its processes have on this host; 0: the server's own
    folders: tuple[Folder, ...]
    layout: Layout
    limits: Limits
    network: Network

    @property
    def writable(self) -> list[str]:
        """The folders that the processes may write to, on this host."""
        return [folder.path for folder in self.folders if folder.writable]

    def to_json(self) -> dict[str, Any]:
        """What the supervisor is given."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Specification:
        """What the server has written."""
        layout, network = document["layout"], document["network"]
        return cls(
            **document
            | {
                "folders": tuple(Folder(**folder) for folder in document["folders"]),
                "layout": Layout(hidden=tuple(layout["hidden"]), exposed=tuple(layout["exposed"])),
                "limits": Limits(**document["limits"]),
                "network": Network(
                    **network
                    | {
                        "listeners": tuple(Listener(**one) for one in network["listeners"]),
                        "private": tuple(network["private"]),
                        "hosts": tuple(network["hosts"]),
                    }
                ),
            }
        )
