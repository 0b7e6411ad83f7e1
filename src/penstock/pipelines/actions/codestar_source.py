"""Connection source: declared, not run. The head of a branch of a repository behind a connection (GitHub, GitLab, Bitbucket), as a zip of its files. AWS: action-reference-CodestarConnectionSource."""

from __future__ import annotations

from penstock.pipelines.actions.not_run import NotRun
from penstock.pipelines.model import HOUR, ActionType, ActionTypeId, Property


class CodeStarSource(NotRun):
    """The head of a branch of a repository behind a connection (GitHub, GitLab, Bitbucket), as a zip of its files."""

    types = (
        ActionType(
            id=ActionTypeId(category="Source", owner="AWS", provider="CodeStarSourceConnection"),
            properties=(
                Property(name="ConnectionArn", description="The connection", required=True, key=True),
                Property(
                    name="FullRepositoryId", description="The repository, as owner/repository", required=True, key=True
                ),
                Property(name="BranchName", description="The branch", required=True),
                Property(
                    name="OutputArtifactFormat",
                    description="What the artifact holds",
                    values=("CODE_ZIP", "CODEBUILD_CLONE_REF"),
                ),
                Property(
                    name="DetectChanges", description="Whether a push starts the pipeline", values=("true", "false")
                ),
            ),
            inputs=(0, 0),
            outputs=(1, 1),
            timeout=HOUR,
        ),
    )
    why = "Penstock has no connections to hosts of repositories yet. Keep the repository in CodeCommit here, or mirror it to one."


PROVIDER = CodeStarSource()
