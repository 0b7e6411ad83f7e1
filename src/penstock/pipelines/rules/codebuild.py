"""CodeBuild: one build per rule, which succeeds or fails as it does. AWS: rule-reference-CodeBuild."""

from __future__ import annotations

from dataclasses import replace

from penstock.pipelines.actions.codebuild import CodeBuild
from penstock.pipelines.model import HOUR, ActionTypeId

_NOT_OF_RULES = ("BuildspecOverride", "ServiceRoleArnOverride")


class CodeBuildRule(CodeBuild):
    """What the action of that name does, without output artifacts."""

    types = (
        replace(
            CodeBuild.types[0],
            id=ActionTypeId(category="Rule", owner="AWS", provider="CodeBuild"),
            properties=tuple(p for p in CodeBuild.types[0].properties if p.name not in _NOT_OF_RULES),
            outputs=(0, 0),
            timeout=36 * HOUR,
        ),
    )


PROVIDER = CodeBuildRule()
