"""Members of inputs that are accepted and change nothing: what docs/reference/operations.md says of each.

Everything else that an operation takes is served or refused with a sentence; tests/clients/test_members.py holds the code against
this list. Of projects and builds, builds.unserved says so in the build's log.
"""

from __future__ import annotations

WITHOUT_EFFECT: dict[tuple[str, str], str] = {
    ("cloudwatch", "Entity"): "links data to CloudWatch's application signals, which are not served",
    ("cloudwatch", "StrictEntityValidation"): "entities are not looked at",
    ("codedeploy", "NextToken"): "all tags of a resource are answered at once",
    ("codedeploy-commands", "EstimatedCompletionTime"): "an agent's guess; the time limits of the hooks decide",
    ("logs", "accountIdentifiers"): "there are no linked accounts: an account's own groups are listed",
    ("logs", "entity"): "links events to CloudWatch's application signals, which are not served",
    ("logs", "includeLinkedAccounts"): "there are no linked accounts: an account's own groups are listed",
    ("logs", "interleaved"): "AWS ignores it as well: events are always merged by time",
    ("logs", "unmask"): "nothing is masked: data protection policies are not served",
    ("organizations", "IamUserAccessToBilling"): "nothing is billed",
    ("s3", "AnnotationDirective"): "no object has annotations",
    (
        "s3",
        "ConfirmRemoveSelfBucketAccess",
    ): "an account's own policies let its users change a bucket's policy in any case",
    ("s3", "MFA"): "MFA delete cannot be switched on",
    ("s3", "OptionalObjectAttributes"): "the attribute that can be asked for is of archived objects, and none is",
    ("s3", "RequestPayer"): "nobody pays for requests",
    ("s3", "SkipDestinationValidation"): "destinations other than EventBridge are refused",
    ("sts", "MinimumSessionTokenSize"): "tokens have one size",
}
"""By service and member: why it is accepted without effect."""
