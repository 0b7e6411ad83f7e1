"""What repositories emit."""

from __future__ import annotations

from penstock.store.catalogue import EventType
from penstock.store.events import Event


def _repository(event: Event) -> tuple[str]:
    return (event.payload["repositoryArn"],)


REFERENCE_UPDATED = EventType(
    name="codecommit.reference.updated",
    description="A branch or tag was created, moved or deleted.",
    aggregate="repository",
    source="aws.codecommit",
    detail_type="CodeCommit Repository State Change",
    resources=_repository,
    sample={
        "repositoryName": "shop",
        "repositoryId": "0b9ec8ae-8d1e-4f0c-9a31-6c1a3a1d2f11",
        "repositoryArn": "arn:aws:codecommit:us-east-1:111111111111:shop",
        "event": "referenceUpdated",
        "referenceType": "branch",
        "referenceName": "main",
        "referenceFullName": "refs/heads/main",
        "callerUserArn": "arn:aws:iam::111111111111:user/ada",
        "commitId": "6d1ef7a8f6a5a3a0c5ee4ab1a6b0f04c9bd3a11e",
        "oldCommitId": "1c0ffb7d21b0ad7e9a2f6e0e8e1a36b2c6f6d0aa",
    },
)

EVENTS = (REFERENCE_UPDATED,)
