"""Mail, by a real SMTP server: what people are sent, how the connection is protected, and that nobody writes a header of it."""

import asyncio
import contextlib
import datetime as dt
import email
import email.policy
import functools
import json
import re

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from penstock_keys import refused
from penstock_topics import answer, many, row, sns, subscribed, topic, topics_on, working
from penstock_waiting import eventually

from penstock.store import sealing
from penstock.store.records import jobs
from penstock.topics import leaving, records, work
from penstock.topics import mailing as mails
from penstock.topics.mail_settings import MailSettings
from penstock.wire import tls


class Mailbox:
    """Keeps the mails that it is sent; what it answers to the next ones can be chosen."""

    def __init__(self):
        self.mails, self.contents, self.answers, self.users = [], [], [], []

    async def handle_DATA(self, _server, _session, envelope):
        if self.answers:
            return self.answers.pop(0)
        self.contents.append(envelope.content)
        self.mails.append(
            (
                envelope.rcpt_tos,
                email.message_from_bytes(envelope.content.replace(b"\r\n", b"\n"), policy=email.policy.default),
            )
        )
        return "250 taken"

    async def handle_RCPT(self, _server, _session, envelope, address, _options):
        if address.startswith("nobody@"):
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 ok"

    def authenticate(self, _server, _session, _envelope, mechanism, data):
        good = isinstance(data, LoginPassword) and data == LoginPassword(b"penstock", b"hush")
        self.users.append((mechanism, good))
        return AuthResult(success=good)


@contextlib.asynccontextmanager
async def mail_server(*, ssl_context=None, **more):
    mailbox = Mailbox()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(mailbox, loop=loop, **more), "127.0.0.1", 0, ssl=ssl_context)
    try:
        yield mailbox, server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mail-tls")
    sealer = sealing.Sealer([(b"1234", b"k" * 32)])
    now = dt.datetime.now(dt.UTC)
    ca, cert, key = tls.own_authority(folder, ("localhost", "127.0.0.1"), sealer, now=now)
    return ca, tls.server_context(cert, key, sealer.derive(tls.KEY_LABEL))


@contextlib.asynccontextmanager
async def mailing(store, clock, tmp_path, port, **more):
    settings = MailSettings(smtp_host="localhost", smtp_port=port, **{"smtp_security": "none"} | more)
    async with topics_on(store, clock, tmp_path, settings) as harness, working(harness):
        yield harness, await harness.administrator()


def nothing_left(conn):
    return conn.execute(records.deliveries.select()).first() is None


async def test_people_are_asked_and_get_messages_and_can_leave(store, clock, tmp_path):
    async with mail_server() as (mailbox, port):
        async with mailing(store, clock, tmp_path, port) as (harness, owner):
            arn = await topic(harness, owner, DisplayName="Deploys, Größe")
            await sns(harness, owner, "Subscribe", TopicArn=arn, Protocol="email", Endpoint="you@example.com")
            ((to, asked),) = await eventually(lambda: mailbox.mails)
            assert (to, asked["Subject"]) == (["you@example.com"], "AWS Notification - Subscription Confirmation")
            assert asked["From"] == "AWS Notifications <penstock@penstock.test>"
            text = asked.get_content()
            assert f"You have chosen to subscribe to the topic:\n{arn}\n" in text
            token = re.search(r"https://penstock\.test/v1/topics/confirm\?TopicArn=\S+&Token=(\S+)", text)[1]
            made = await sns(harness, owner, "ConfirmSubscription", TopicArn=arn, Token=token)
            sent = await sns(harness, owner, "Publish", TopicArn=arn, Message="It is done.\nÄ", Subject="Done: 1.0")
            await eventually(lambda: len(mailbox.mails) == 2)
            mail = mailbox.mails[1][1]
            assert (mail["From"], mail["To"], mail["Subject"]) == (
                '"Deploys, Größe" <penstock@penstock.test>',
                "you@example.com",
                "Done: 1.0",
            )
            leave = (
                f"https://penstock.test/v1/topics/leave?SubscriptionArn={made['SubscriptionArn'].replace(':', '%3A')}"
            )
            assert mail.get_content().startswith("It is done.\nÄ\n\n--\nIf you wish to stop receiving notifications")
            assert leave in mail.get_content()
            assert (mail["List-Unsubscribe"], mail["List-Unsubscribe-Post"]) == (
                f"<{leave}>",
                "List-Unsubscribe=One-Click",
            )
            # As bytes: what a parser reads from an encoded header is no link for a mail program.
            assert f"\r\nList-Unsubscribe: <{leave}>\r\n".encode() in mailbox.contents[1]
            assert mailbox.contents[1].isascii()
            assert mail["Message-ID"].startswith(f"<{sent['MessageId']}.")
            assert mail["Auto-Submitted"] == "auto-generated"
            await sns(harness, owner, "Unsubscribe", SubscriptionArn=made["SubscriptionArn"])
            await sns(harness, owner, "Publish", TopicArn=arn, Message="never seen")
            await eventually(lambda: harness.app.store.read(nothing_left))
            assert len(mailbox.mails) == 2


async def test_messages_of_services_are_mails_for_people(store, clock, tmp_path):
    """As text and as HTML: what happened, what to do, links that need a sign-in; nothing in them is markup, a header or fetched."""
    evil = '<img src=https://evil.test/x> & "friends"\r\nBcc: all@example.com'
    approval = {"pipelineName": "shop", "stageName": "Release", "actionName": "Ask", "customData": evil}
    event = {"source": "aws.codebuild", "detail-type": "x", "detail": {"project-name": f"wéb\r\nBcc: a@b{evil}", "build-status": "FAILED", "build-id": "arn:aws:codebuild:us-east-1:1:build/web:1"}}  # fmt: skip
    async with mail_server() as (mailbox, port):
        async with mailing(store, clock, tmp_path, port) as (harness, owner):
            arn = await topic(harness, owner)
            await subscribed(harness, owner, arn, "you@example.com", "email")
            subject = "APPROVAL NEEDED: AWS CodePipeline shop for action Ask"
            await sns(
                harness, owner, "Publish", TopicArn=arn, Message=json.dumps({"approval": approval}), Subject=subject
            )
            await sns(harness, owner, "Publish", TopicArn=arn, Message=json.dumps(event))
            found = lambda: [mail for _, mail in mailbox.mails if "Confirmation" not in mail["Subject"]]  # noqa: E731
            await eventually(lambda: len(found()) == 2)
    asks, fails = sorted(found(), key=lambda mail: "APPROVAL" not in mail["Subject"])
    assert asks["Subject"] == subject
    assert fails["Subject"].startswith("Build of wéb Bcc: a@b")
    for mail in (asks, fails):
        assert mail["Bcc"] is None
        assert mail.get_content_type() == "multipart/alternative"
        assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
        page = mail.get_body(("html",)).get_content()
        assert not re.search(r"<(?!/?(html|head|meta|title|body|h1|p|table|tr|th|td|a|hr|!doctype)\b)", page)
        assert not re.search(r"\bsrc=|url\(|@import", page.replace("&lt;img src=", ""))
        assert {one.partition("?")[0] for one in re.findall(r'href="([^"]*)"', page)} <= {
            "https://penstock.test/v1/topics/leave",
            "https://penstock.test/console/builds/web%3A1",
            "https://penstock.test/console/pipelines/shop",
            "https://penstock.test/console/pipelines/shop/approvals/Release/Ask",
        }
        assert "https://penstock.test/v1/topics/leave?SubscriptionArn=" in mail.get_body(("plain",)).get_content()
    text = asks.get_body(("plain",)).get_content()
    assert text.startswith(
        'Approval needed: shop, Release\n\n<img src=https://evil.test/x> & "friends"\nBcc: all@example.com\n'
    )
    assert "Approve or reject:\nhttps://penstock.test/console/pipelines/shop/approvals/Release/Ask\n" in text
    assert "&lt;img src=https://evil.test/x&gt; &amp; &quot;friends&quot;" in asks.get_body(("html",)).get_content()


async def test_programs_that_read_mail_get_the_notification(store, clock, tmp_path):
    async with mail_server() as (mailbox, port):
        async with mailing(store, clock, tmp_path, port, mail_from="ci@example.org") as (harness, owner):
            arn = await topic(harness, owner)
            await subscribed(harness, owner, arn, "bot@example.com", "email-json")
            await sns(harness, owner, "Publish", TopicArn=arn, Message="m" * 5_000)
            await eventually(
                lambda: [mail for _, mail in mailbox.mails if mail["Subject"] == "AWS Notification Message"]
            )
    mail = mailbox.mails[-1][1]
    body = json.loads(mail.get_content())
    assert (body["Type"], body["Message"], body["SignatureVersion"]) == ("Notification", "m" * 5_000, "1")
    assert mail["From"] == "AWS Notifications <ci@example.org>"


async def test_a_connection_is_protected_before_anybody_signs_in(store, clock, tmp_path, certificate):
    ca, context = certificate
    mailbox = Mailbox()
    more = {
        "authenticator": mailbox.authenticate,
        "auth_required": True,
        "tls_context": context,
        "require_starttls": True,
    }
    async with mail_server(**more) as (received, port):
        settings = {
            "smtp_security": "starttls",
            "smtp_ca_file": str(ca),
            "smtp_user": "penstock",
            "smtp_password": "hush",
        }
        async with mailing(store, clock, tmp_path, port, **settings) as (harness, owner):
            arn = await topic(harness, owner)
            await sns(harness, owner, "Subscribe", TopicArn=arn, Protocol="email", Endpoint="you@example.com")
            await eventually(lambda: received.mails)
    assert {good for _, good in mailbox.users} == {True}


async def test_a_server_may_speak_tls_from_the_first_byte(store, clock, tmp_path, certificate):
    ca, context = certificate
    async with mail_server(ssl_context=context) as (received, port):
        settings = {"smtp_security": "tls", "smtp_ca_file": str(ca)}
        async with mailing(store, clock, tmp_path, port, **settings) as (harness, owner):
            arn = await topic(harness, owner)
            await sns(harness, owner, "Subscribe", TopicArn=arn, Protocol="email", Endpoint="you@example.com")
            await eventually(lambda: received.mails)


async def test_a_server_that_nobody_vouches_for_gets_no_password(store, clock, tmp_path, certificate, caplog):
    _, context = certificate
    mailbox = Mailbox()
    more = {
        "authenticator": mailbox.authenticate,
        "auth_required": True,
        "tls_context": context,
        "require_starttls": True,
    }
    async with mail_server(**more) as (received, port):
        settings = {"smtp_security": "starttls", "smtp_user": "penstock", "smtp_password": "hush"}
        async with mailing(store, clock, tmp_path, port, **settings) as (harness, owner):
            caplog.set_level("INFO", "penstock.work")
            arn = await topic(harness, owner)
            await subscribed(harness, owner, arn, "you@example.com", "email")
            await sns(harness, owner, "Publish", TopicArn=arn, Message="m")
            await eventually(lambda: harness.app.store.read(tried))
    assert (received.mails, mailbox.users) == ([], [])


def tried(conn):
    found = conn.execute(records.deliveries.select()).first()
    return found is not None and found.tries


async def test_mail_that_is_put_off_is_sent_later_and_what_is_refused_for_good_is_not(store, clock, tmp_path):
    async with mail_server() as (mailbox, port):
        async with mailing(store, clock, tmp_path, port) as (harness, owner):
            arn = await topic(harness, owner)
            await subscribed(harness, owner, arn, "you@example.com", "email")
            await subscribed(harness, owner, arn, "nobody@example.com", "email")
            await eventually(lambda: harness.app.store.read(all_asked))
            mailbox.answers = ["451 try again"]
            await sns(harness, owner, "Publish", TopicArn=arn, Message="m")
            await eventually(lambda: harness.app.store.read(tried))
            await eventually(lambda: harness.app.store.read(only_one))
            clock.advance(10_000)
            await eventually(lambda: harness.app.store.read(nothing_left))
    assert [to for to, mail in mailbox.mails if mail["Subject"] == "AWS Notification Message"] == [["you@example.com"]]


async def test_a_mail_server_that_hangs_holds_up_no_endpoint(store, clock, tmp_path, monkeypatch):
    monkeypatch.setattr(mails, "SECONDS", 600.0)
    monkeypatch.setattr(work, "_BUSY_MS", (500, 2_000))
    asked, heard = [], []

    async def hang(_reader, writer):
        asked.append(writer)

    async def take(reader, writer):
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer(200))
        writer.close()

    silent, endpoint = (
        await asyncio.start_server(hang, "127.0.0.1", 0),
        await asyncio.start_server(take, "127.0.0.1", 0),
    )
    ports = [one.sockets[0].getsockname()[1] for one in (silent, endpoint)]
    try:
        async with mailing(store, clock, tmp_path, ports[0]) as (harness, owner):
            arn = await topic(harness, owner)
            others = await topic(harness, owner, "others")
            await subscribed(harness, owner, others, f"http://127.0.0.1:{ports[1]}/a")
            crowd = functools.partial(many, url="n{}@example.com", protocol="email")
            await harness.app.store.write(crowd, await harness.app.store.read(row, arn), 70)
            await sns(harness, owner, "Publish", TopicArn=arn, Message="m")
            await eventually(lambda: len(asked) == 12)
            await sns(harness, owner, "Publish", TopicArn=others, Message="m")
            await eventually(lambda: any(b"message-type: Notification" in one for one in heard))
            assert len(asked) == 12
    finally:
        for one in (silent, endpoint):
            one.close()
        for writer in asked:
            writer.close()


def all_asked(conn):
    return conn.execute(jobs.select().where(jobs.c.kind == leaving.ASK, jobs.c.state != "done")).first() is None


def only_one(conn):
    return len(conn.execute(records.deliveries.select()).all()) == 1


async def test_nobody_who_publishes_or_subscribes_writes_a_header(store, clock, tmp_path):
    async with mail_server() as (mailbox, port):
        async with mailing(store, clock, tmp_path, port) as (harness, owner):
            arn = await topic(harness, owner)
            await subscribed(harness, owner, arn, "you@example.com", "email")
            for bad in ("a\r\nBcc: x@y.test", "a\nb", "a\rb", "a\x00b"):
                asked = sns(harness, owner, "Publish", TopicArn=arn, Message="m", Subject=bad)
                assert (await refused(asked))[1] == "Invalid parameter: Subject"
                given = {"TopicArn": arn, "AttributeName": "DisplayName", "AttributeValue": bad}
                assert (await refused(sns(harness, owner, "SetTopicAttributes", **given)))[0] == "InvalidParameter"
            name = 'x" <evil@y.test>, "'
            await sns(
                harness, owner, "SetTopicAttributes", TopicArn=arn, AttributeName="DisplayName", AttributeValue=name
            )
            text = "Bcc: x@y.test\r\n\r\n.\r\nMAIL FROM:<x@y.test>\r\n"
            await sns(harness, owner, "Publish", TopicArn=arn, Message=text, Subject="Bcc: x@y.test")
            found = await eventually(lambda: [one for one in mailbox.mails if one[1]["Subject"] == "Bcc: x@y.test"])
    ((to, mail),) = found
    assert (to, mail["Bcc"], len(mail["From"].addresses)) == (["you@example.com"], None, 1)
    assert mail["From"].addresses[0].addr_spec == "penstock@penstock.test"
    assert mail.get_content().startswith("Bcc: x@y.test\n\n.\nMAIL FROM:<x@y.test>\n")
