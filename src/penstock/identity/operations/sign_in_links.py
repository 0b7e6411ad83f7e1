"""Links with which users choose a password: our own operation, since AWS has no such thing for users of an account."""

from __future__ import annotations

import sqlalchemy as sa

from penstock.application import Call
from penstock.identity import invitations, naming, records
from penstock.identity.authority import Authority
from penstock.identity.errors import NoSuchUserException
from penstock.identity.operations import ours
from penstock.wire.call import Input, Output


async def named_user_arn(call: Call, input: Input) -> str:
    """ARN that a call on the user `userName` is authorised on."""
    row = await call.app.store.read(records.user, call.account, input["userName"])
    return naming.arn(call.partition, call.account, "user", "/", input["userName"]) if row is None else row.arn


@ours("CreateSignInLink", resource=named_user_arn)
async def create_sign_in_link(authority: Authority, call: Call, input: Input) -> Output:
    """A link to the page where the user chooses a password. An existing password works until another is chosen.

    Whoever holds the link becomes the user, so that its maker must also be allowed what sets a password: iam:CreateLoginProfile
    and iam:UpdateLoginProfile of the user.
    """
    arn = await named_user_arn(call, input)
    for action in ("iam:CreateLoginProfile", "iam:UpdateLoginProfile"):
        await call.app.identity.authorize(call, action, (arn,))

    def prepare(conn: sa.Connection) -> tuple[str, int]:
        row = records.user(conn, call.account, input["userName"])
        if row is None:
            raise NoSuchUserException(name=input["userName"])
        return row.id, invitations.ensure_profile(conn, row, now=call.now)

    user_id, changed = await authority.change(prepare)
    until = call.now + invitations.LASTS_MS
    token = invitations.token_of(call.app, user_id=user_id, changed=changed, until=until)
    return {"url": f"{call.app.public_url}/console/welcome/{token}", "expires": until}
