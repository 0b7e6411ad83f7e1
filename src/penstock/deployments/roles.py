"""The service roles of deployment groups."""

from __future__ import annotations

from penstock.application import App
from penstock.wire.call import Session, partition_of
from penstock.wire.errors import AccessDenied, ServiceError

PRINCIPAL = "codedeploy.amazonaws.com"


async def assumed(
    app: App, role_arn: str, *, session_name: str, account: str, region: str, group: str
) -> Session | None:
    """A session of a role; None when the account has none, or it does not trust the service to act for a group (`application/group`)."""
    try:
        session, _ = await app.identity.assume(
            role_arn=role_arn,
            service=PRINCIPAL,
            session_name=session_name,
            region=region,
            account=account,
            source_arn=f"arn:{partition_of(region)}:codedeploy:{region}:{account}:deploymentgroup:{group}",
        )
    except (AccessDenied, ServiceError):
        return None
    return session
