"""GitHub source (version 1): declared, not run. The head of a branch of a repository at GitHub, as a zip of its files. AWS: action-reference-GitHub."""

from __future__ import annotations

from penstock.pipelines.actions.not_run import NotRun
from penstock.pipelines.model import HOUR, ActionType, ActionTypeId, Property


class GitHubSource(NotRun):
    """The head of a branch of a repository at GitHub, as a zip of its files."""

    types = (
        ActionType(
            id=ActionTypeId(category="Source", owner="ThirdParty", provider="GitHub"),
            properties=(
                Property(name="Owner", description="Who owns the repository", required=True, key=True),
                Property(name="Repo", description="The repository", required=True, key=True),
                Property(name="Branch", description="The branch", required=True),
                Property(
                    name="OAuthToken",
                    description="The token of an account at GitHub",
                    required=True,
                    secret=True,
                    masked=True,
                ),
                Property(
                    name="PollForSourceChanges",
                    description="Whether a push starts the pipeline",
                    values=("true", "false"),
                ),
            ),
            inputs=(0, 0),
            outputs=(1, 1),
            timeout=HOUR,
        ),
    )
    why = "Penstock does not fetch from GitHub yet. Keep the repository in CodeCommit here, or mirror it to one."


PROVIDER = GitHubSource()
