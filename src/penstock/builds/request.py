"""One build as its worker takes it up: what is asked for, and where it is to run. Every step of the run is given it, and none changes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from penstock.builds.model import Key
from penstock.builds.workspace import OWN_TREES, Workspace
from penstock.sandbox.registry import Choice

INSIDE = "/codebuild"
"""Where a build sees its folders, as on AWS, under a runtime that moves folders."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """What a build's run needs to know."""

    key: Key
    document: Mapping[str, Any]  # members of the API's Build, as they were when the worker took it
    started: int  # ms UTC
    private: Mapping[str, Any]  # what the API does not show: artifacts, what a pipeline asked for
    choice: Choice  # the runtime of this worker
    user: int  # id of its processes on this host; 0: the server's own
    workspace: Workspace

    @classmethod
    def of(cls, row: sa.Row[Any], key: Key, *, folder: Path, choice: Choice) -> BuildRequest:
        """The request of a build's row, in a directory of its own below `folder`."""
        user = choice.runtime.user(int(key.uuid[:8], 16)) if choice.runtime else 0
        tree = OWN_TREES / key.uuid if user else folder / key.uuid / "tree"
        return cls(
            key=key,
            document=dict(row.document),
            started=row.started,
            private=row.private,
            choice=choice,
            user=user,
            workspace=Workspace(folder / key.uuid, tree),
        )

    @property
    def moves_folders(self) -> bool:
        """Whether the build sees its folders at CodeBuild's paths."""
        return self.choice.runtime is not None and self.choice.runtime.moves_folders

    @property
    def inside(self) -> str:
        """The folder of its folders, as the build sees it."""
        return INSIDE if self.moves_folders else str(self.workspace.tree)

    @property
    def role(self) -> str:
        """The ARN of its service role."""
        return self.document["serviceRole"]

    @property
    def pipeline(self) -> Mapping[str, Any] | None:
        """What a pipeline's action started it with."""
        return self.private.get("pipelineContext")

    @property
    def commands(self) -> Mapping[str, Any] | None:
        """The commands of an action that has no project (see `commands.kept_of`)."""
        return self.private.get("commands")
