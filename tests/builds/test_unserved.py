"""Every member that a project or a start can have is served, refused, or reported."""

from __future__ import annotations

import pytest
from botocore.session import get_session

from penstock.builds.projects import _OVERRIDES
from penstock.builds.unserved import NO_EFFECT, without_effect

MODEL = get_session().get_service_model("codebuild")

# Read by the code that runs builds, or by checks of projects.
SERVED = {
    "": {
        "name", "description", "source", "secondarySources", "sourceVersion", "secondarySourceVersions", "artifacts",
        "secondaryArtifacts", "environment", "serviceRole", "timeoutInMinutes", "queuedTimeoutInMinutes", "tags",
        "logsConfig", "concurrentBuildLimit", "autoRetryLimit", "encryptionKey",
    },
    "logsConfig": {"cloudWatchLogs"},
    "source": {"type", "location", "gitCloneDepth", "buildspec", "sourceIdentifier"},
    "environment": {"type", "image", "computeType", "environmentVariables"},
    "artifacts": {
        "type", "location", "path", "namespaceType", "name", "packaging", "overrideArtifactName", "artifactIdentifier",
        "encryptionDisabled",
    },
}  # fmt: skip
REFUSED = {"": {"badgeEnabled"}, "source": {"reportBuildStatus"}}
OTHER_OPERATIONS = {"": {"buildBatchConfig"}}  # of StartBuildBatch, which is not served

SHAPES = {
    "": "CreateProjectInput",
    "logsConfig": "LogsConfig",
    "source": "ProjectSource",
    "environment": "ProjectEnvironment",
    "artifacts": "ProjectArtifacts",
}


@pytest.mark.parametrize("section", SHAPES)
def test_no_member_of_a_project_is_dropped_in_silence(section: str):
    members = set(MODEL.shape_for(SHAPES[section]).members)
    known = [
        SERVED[section],
        set(NO_EFFECT[section]),
        REFUSED.get(section, set()),
        OTHER_OPERATIONS.get(section, set()),
    ]
    own = {"debugSessionEnabled"} if not section else set()  # StartBuild only
    assert set().union(*known) == members | own
    assert sum(map(len, known)) == len(members | own)


def test_no_member_of_a_start_is_dropped_in_silence():
    served = {"projectName", "environmentVariablesOverride", "idempotencyToken", "debugSessionEnabled"}
    assert set(MODEL.shape_for("StartBuildInput").members) == served | set(_OVERRIDES)


def test_defaults_ask_for_nothing_and_secondary_ones_are_named():
    document = {
        "cache": {"type": "NO_CACHE"},
        "encryptionKey": "arn:aws:kms:us-east-1:111111111111:alias/aws/s3",
        "environment": {"privilegedMode": False, "imagePullCredentialsType": "CODEBUILD"},
        "source": {"type": "S3", "insecureSsl": False, "gitSubmodulesConfig": {"fetchSubmodules": False}},
    }
    private = {
        "artifacts": {"type": "S3"},
        "logsConfig": {"s3Logs": {"status": "DISABLED"}},
    }
    assert without_effect(document, private) == []
    document["secondarySources"] = [{"sourceIdentifier": "two", "gitSubmodulesConfig": {"fetchSubmodules": True}}]
    private["secondaryArtifacts"] = [{"artifactIdentifier": "docs", "bucketOwnerAccess": "FULL"}]
    assert without_effect(document, private) == [
        "The project's secondarySources.two.gitSubmodulesConfig has no effect: submodules are not fetched: their folders are empty",
        "The project's secondaryArtifacts.docs.bucketOwnerAccess has no effect: no access is granted to another account",
    ]
