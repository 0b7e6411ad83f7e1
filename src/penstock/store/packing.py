"""Documents that are kept by the thousand and alike in most of their text: packed against a text of what they have in common.

A build says eleven times what it is and what it has done so far. Packed alone such an event takes a third of its size; against
such a text a tenth.
"""

from __future__ import annotations

import zlib
from typing import Any

import orjson
import sqlalchemy as sa

_WINDOW = 13  # of 8 KB, which holds the common text and the document

# Never changed, since what was packed needs it to be unpacked: another text is another version. What comes last is the cheapest to name.
_FIRST = b"".join(
    (
        b'"repositoryName":"","repositoryId":"","repositoryArn":"arn:aws:codecommit:us-east-1:","event":"referenceCreated"',
        b'"referenceUpdated","oldCommitId":"","referenceDeleted","referenceType":"branch","referenceName":"main",',
        b'"referenceFullName":"refs/heads/main","callerUserArn":"arn:aws:iam::111111111111:user/administrator","commitId":"',
        b'{"bucket":"artifacts","key":"source.zip","versionId":"null","eTag":"","size":1,"deletionType":"Permanently Deleted"',
        b'"reason":"PutObject"}"CopyObject"}"CompleteMultipartUpload"}',
        b'"errorInformation":{"code":"HEALTH_CONSTRAINTS","message":"The overall deployment failed because too many individual ',
        b"instances failed deployment, too few healthy instances are available for deployment, or some instances in your ",
        b'deployment group are experiencing problems."}}"creator":"codeDeployRollback"',
        b'{"application":"","deploymentGroup":"","deploymentId":"d-","instanceGroupId":"","region":"us-east-1","status":"',
        b'InProgress","state":"START","creator":"user"}"instanceId":"","state":"SUCCESS"}"state":"FAILURE"',
        b'"execution-trigger":{"trigger-type":"StartPipelineExecution","trigger-detail":"arn:aws:iam::111111111111:user/"',
        b'"stage-last-retry-attempt-time":"2026-"CreatePipeline""PollForSourceChanges"',
        b'"execution-result":{"external-execution-summary":"Amazon S3 version id: ","external-execution-url":"https://',
        b'","external-execution-id":"arn:aws:codebuild:","error-code":"JobFailed"',
        b'"input-artifacts":[{"name":"","s3location":{"bucket":"","key":""}}],"output-artifacts":[{"name":"","s3location":{"bucket":',
        b'{"pipeline":"","execution-id":"","start-time":"2026-11-29T22:03:57.581Z","state":"FAILED""RESUMED""STOPPING""CANCELED"',
        b'"state":"SUCCEEDED","state":"STARTED","version":1.0,"pipeline-execution-attempt":1.0,"stage":"Deploy","action":"",',
        b'"action-execution-id":"","region":"us-east-1","type":{"owner":"AWS","category":"Source","provider":"S3","CodeCommit"',
        b'"Approval","Manual","Deploy","provider":"CodeDeploy","category":"Build","provider":"CodeBuild","version":"1"}',
        b'{"build-status":"IN_PROGRESS","SUCCEEDED","FAILED","STOPPED","current-phase":"QUEUED","current-phase-context":"[]",',
        b'{"project-name":"","build-id":"arn:aws:codebuild:us-east-1:111111111111:build/',
        b'","version":"1","initiator":"codepipeline/","additional-information":{"artifact":{"location":"arn:aws:s3:::',
        b'","sha256sum":"","md5sum":""},"environment":{"image":"host","privileged-mode":false,"compute-type":"',
        b'BUILD_GENERAL1_SMALL","type":"LINUX_CONTAINER","environment-variables":[{"name":"","type":"PLAINTEXT","value":""}]},',
        b'"timeout-in-minutes":60,"build-complete":true,"build-complete":false,"build-number":1.0,"initiator":"codepipeline/',
        b'","build-start-time":"Nov 29, 2026 10:03:46 PM","source":{"type":"CODEPIPELINE"},"source-version":"arn:aws:s3:::',
        b'","logs":{"group-name":"/aws/codebuild/","stream-name":"","deep-link":"http://127.0.0.1:8470/console/builds/',
        b'"},"phases":[{"phase-type":"SUBMITTED","start-time":"Nov 29, 2026 10:03:46 PM","phase-context":[": "],',
        b'"phase-status":"SUCCEEDED","end-time":"Nov 29, 2026 10:03:46 PM","duration-in-seconds":0},{"phase-type":"QUEUED",',
        b'"PROVISIONING","DOWNLOAD_SOURCE","INSTALL","PRE_BUILD","BUILD","POST_BUILD","UPLOAD_ARTIFACTS","FINALIZING",',
        b'{"phase-type":"COMPLETED","start-time":"Nov 29, 2026 10:03:46 PM"}]},"completed-phase-status":"SUCCEEDED",',
        b'"completed-phase":"SUBMITTED","completed-phase-context":"[: ]","completed-phase-duration-seconds":0,',
        b'"completed-phase-start":"Nov 29, 2026 10:03:46 PM","completed-phase-end":"Nov 29, 2026 10:03:46 PM"}',
        b'},"bucket/artifacts/1","repository/111111111111/us-east-1/","deployment/d-","build/111111111111/us-east-1/',
        b'"},"pipeline/111111111111/us-east-1/","arn:aws:iam::111111111111:user/administrator","","",1]',
        b'","arn:aws:sts::111111111111:assumed-role/codepipeline/","",1]',
    )
)
_SECOND = _FIRST + b"".join(
    (
        b'"codecommit.reference.updated","s3.object.deleted",',
        b'"","",1,"s3.object.created","codedeploy.deployment.state_changed","codepipeline.execution.state_changed",',
        b'"codepipeline.stage.state_changed","codebuild.build.state_changed","codedeploy.instance.state_changed"',
        b'"","",1,"codebuild.build.phase_changed","","",1,"codepipeline.action.state_changed","111111111111","us-east-1"]',
    )
)
_COMMON = {1: _FIRST, 2: _SECOND}
NEWEST = max(_COMMON)


# A copy of what has read the common text is a quarter cheaper than to read it again.
_PREPARED = {
    version: zlib.compressobj(6, wbits=-_WINDOW, memLevel=6, zdict=common) for version, common in _COMMON.items()
}


def pack(document: Any, version: int = NEWEST) -> bytes:
    """A JSON document as few bytes. Only a revision that leads back to an older release asks for another version."""
    packing = _PREPARED[version].copy()
    return bytes((version,)) + packing.compress(orjson.dumps(document)) + packing.flush()


def unpack(packed: bytes) -> Any:
    """What was packed. Raises ValueError when another release packed it in a way that this one does not know."""
    common = _COMMON.get(packed[0])
    if common is None:
        raise ValueError(f"a document is packed in version {packed[0]}, which this release does not know")
    return orjson.loads(zlib.decompressobj(wbits=-_WINDOW, zdict=common).decompress(packed[1:]))


class Packed(sa.types.TypeDecorator[Any]):
    """A column of packed JSON documents."""

    impl = sa.LargeBinary
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> bytes:  # noqa: ARG002
        return pack(value)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Any:  # noqa: ARG002
        return unpack(value)
