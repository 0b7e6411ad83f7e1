"""What secrets emit: how their rotations went. Payloads are the details of EventBridge's events (AWS: Secrets Manager User Guide, "EventBridge")."""

from __future__ import annotations

from penstock.store.catalogue import EventType

SOURCE = "secretsmanager.amazonaws.com"
_DETAIL_TYPE = "AWS Service Event via CloudTrail"
_ARN = "arn:aws:secretsmanager:us-east-1:111111111111:secret:shop/db-Ab3dE9"


def _type(name: str, event_name: str, description: str, **more: str) -> EventType:
    return EventType(
        name=f"secrets.rotation.{name}",
        description=description,
        aggregate="secret",
        source="aws.secretsmanager",
        detail_type=_DETAIL_TYPE,
        sample={
            "eventSource": SOURCE,
            "eventName": event_name,
            "eventType": "AwsServiceEvent",
            "additionalEventData": {
                "SecretId": _ARN,
                "ClientRequestToken": "5c2c05de-0aa3-4b0c-8a0e-6f8d9d5a3e11",
                **more,
            },
        },
    )


STARTED = _type(
    "started", "RotationStarted", "The rotation of a secret has started, or that of one whose function is only tried."
)
SUCCEEDED = _type("succeeded", "RotationSucceeded", "A secret was rotated, or its function was tried with success.")
FAILED = _type(
    "failed", "RotationFailed", "The rotation of a secret was given up.", reason="createSecret ended with exit code 1"
)
TYPES = (STARTED, SUCCEEDED, FAILED)
