"""Topics of SNS, whose policies decide whether EventBridge may publish."""

from __future__ import annotations

from penstock.events.destinations.destination import PRINCIPAL, Destination, Sending
from penstock.wire.call import service_session


async def _publish(sending: Sending) -> str:
    # No subject, and the text as it is (recorded from AWS).
    session = service_session(PRINCIPAL, sending.account, sending.rule_arn)
    asked = {"TopicArn": sending.target["Arn"], "Message": sending.text}
    await sending.app.invoke(session, "sns", "Publish", asked, region=sending.region)
    return ""


DESTINATION = Destination(service="sns", beginning="", name="SNS topics", send=_publish)
