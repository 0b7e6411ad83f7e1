"""Deliveries by mail: what subscribers of `email` and `email-json` are sent, and by which server.

Whoever publishes chooses the words, and who subscribes the address; neither chooses a header.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from penstock.egress import Occupied, Shares
from penstock.topics import mail_bodies, tokens
from penstock.topics import subscription_rows as rows
from penstock.topics.mail_settings import MailSettings
from penstock.topics.notices import notice_of
from penstock.topics.outcomes import Answered, Busy, Failed
from penstock.topics.signing import PREFIX
from penstock.wire.scalars import format_timestamp

if TYPE_CHECKING:
    from penstock.application import App
    from penstock.topics.bodies import Bodies
    from penstock.topics.messages import Message

SECONDS = 30.0  # for a whole mail
_AT_ONCE, _OF_ACCOUNT = 16, 12  # mails: fewer than deliveries, so that a mail server that hangs holds up no endpoint
_NAME = "AWS Notifications"
_ASK_SUBJECT = "AWS Notification - Subscription Confirmation"
_SUBJECT = "AWS Notification Message"
_ASK = """You have chosen to subscribe to the topic:
{arn}

To confirm this subscription, visit the link below and press the button there. If this was in error, no action is needed.
{link}
"""
_FOOTER = """

--
If you wish to stop receiving notifications from this topic, visit the link below to unsubscribe:
{link}
"""


class Mailing:
    """Sends mails, some at a time."""

    def __init__(self, app: App, bodies: Bodies) -> None:
        self._app = app
        self._bodies = bodies
        self._shares = Shares(of_host=_AT_ONCE, of_account=_OF_ACCOUNT)

    async def notify(self, subscription: Any, topic: Any, message: Any, content: Message) -> Answered:
        """Send a message. Raises Failed, or Busy."""
        arn = rows.arn_of(subscription)
        leave = f"{self._app.public_url}{PREFIX}leave?{urlencode({'SubscriptionArn': arn})}"
        text, page, subject = content.for_protocol(subscription.protocol), "", content.subject
        if subscription.protocol == "email-json":
            body = await self._bodies.notification(subscription, topic, message, content)
            text = json.dumps(body, indent=2, ensure_ascii=False)
        else:
            notice = notice_of(text, content.subject, self._app.public_url)
            if notice.known:
                name = rows.topic_of(subscription).name
                text, page = mail_bodies.as_text(notice, name, leave), mail_bodies.as_html(notice, name, leave)
                subject = subject or notice.title
            else:
                text += _FOOTER.format(link=leave)
        mail = self._mail(
            subscription.endpoint, subject or _SUBJECT, topic.attributes.get("DisplayName") or _NAME, message.at
        )
        mail["Message-ID"] = f"<{message.id}.{subscription.id}@{self._host}>"
        mail["List-Unsubscribe"] = f"<{leave}>"
        mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        mail.set_content(text)
        if page:
            mail.add_alternative(page, subtype="html")
        await self._send(mail, subscription.account)
        return Answered()

    async def ask(self, subscription: Any, topic: Any, type: str, message_id: str, at: int) -> None:  # noqa: ARG002 - as of webhooks
        """Ask somebody to confirm. Raises Failed, or Busy."""
        arn = rows.topic_of(subscription).arn
        token = tokens.make(self._app.sealer, tokens.CONFIRM, subscription.id)
        link = f"{self._app.public_url}{PREFIX}confirm?{urlencode({'TopicArn': arn, 'Token': token})}"
        mail = self._mail(subscription.endpoint, _ASK_SUBJECT, _NAME, at)
        mail["Message-ID"] = f"<{message_id}.{subscription.id}@{self._host}>"
        mail.set_content(_ASK.format(arn=arn, link=link))
        await self._send(mail, subscription.account)

    @property
    def _host(self) -> str:
        host = urlsplit(self._app.public_url).hostname or "localhost"
        return f"[IPv6:{host}]" if ":" in host else host

    def _mail(self, to: str, subject: str, name: str, at: int) -> EmailMessage:
        settings = self._app.settings.of(MailSettings)
        # A long address or link must come as it is: encoded, it would be none. Not every server takes eight bits.
        mail = EmailMessage(policy=SMTP.clone(max_line_length=900, cte_type="7bit"))
        mail["From"] = Address(name, addr_spec=settings.mail_from or f"penstock@{self._host}")
        mail["To"] = Address(addr_spec=to)
        mail["Subject"] = subject
        mail["Date"] = format_timestamp(at, "rfc822")
        mail["Auto-Submitted"] = "auto-generated"
        return mail

    async def _send(self, mail: EmailMessage, account: str) -> None:
        import aiosmtplib  # noqa: PLC0415 - only who sends mail pays for it

        settings = self._app.settings.of(MailSettings)
        host, security = settings.smtp_host, settings.smtp_security
        if not host:
            raise Failed("no mail server is set: start Penstock with --smtp-host")
        context = None if security == "none" else ssl.create_default_context(cafile=settings.smtp_ca_file or None)
        try:
            async with self._shares.take(host, account), asyncio.timeout(SECONDS):
                # As bytes: of a message it would fold the header by itself, at 78 characters.
                await aiosmtplib.send(
                    mail.as_bytes(), sender=mail["From"].addresses[0].addr_spec, recipients=[mail["To"].addresses[0].addr_spec], hostname=host, port=settings.smtp_port, use_tls=security == "tls", start_tls=security == "starttls",
                    tls_context=context, username=settings.smtp_user or None, password=settings.smtp_password or None,
                    local_hostname=self._host, timeout=SECONDS,
                )  # fmt: skip
        except Occupied:
            raise Busy from None
        except TimeoutError:
            raise Failed(f"{host} has not taken the mail within {SECONDS:.0f} seconds") from None
        except aiosmtplib.SMTPRecipientsRefused as refused:
            codes = [one.code for one in refused.recipients]
            raise Failed(
                f"{host} does not take mail for {mail['To']}: {codes}", final=min(codes, default=500) >= 500
            ) from None
        except aiosmtplib.SMTPResponseException as refused:
            final = refused.code in (550, 551, 552, 553, 554)
            raise Failed(f"{host} answers {refused.code} {refused.message[:200]}", final=final) from None
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise Failed(f"{host}: {str(error)[:200]}") from None
