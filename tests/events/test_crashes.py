"""Kill -9 at each crash point of events: what was answered, and what the platform has done, goes to its target all the same."""

import contextlib
import datetime as dt
import json
import sqlite3

import botocore.config
import botocore.exceptions
import pytest
from penstock_crashing import Crashing
from penstock_waiting import until

from penstock.store.failpoints import points

REPLAYS = {"events.replay_started": 1, "events.replayed": 3}  # when each is reached that many times
POINTS = [point for point in points() if point.startswith("events.") and point not in REPLAYS]
TOPIC = "arn:aws:sns:us-east-1:111111111111:nobody"  # what cannot be delivered is kept, so that it can be counted


class Server(Crashing):
    """A server whose tables are looked at."""

    def kept(self):
        """The events whose delivery was given up, and the keys of objects among them."""
        with contextlib.closing(sqlite3.connect(f"file:{self.data}/penstock.db?mode=ro", uri=True)) as database:
            bodies = [json.loads(body) for (body,) in database.execute("SELECT body FROM event_dead_letters")]
        return {body["id"] for body in bodies} | {body["detail"].get("object", {}).get("key") for body in bodies}

    def replayed(self, name):
        """The ids of the events of a replay whose delivery was given up."""
        with contextlib.closing(sqlite3.connect(f"file:{self.data}/penstock.db?mode=ro", uri=True)) as database:
            bodies = [json.loads(body) for (body,) in database.execute("SELECT body FROM event_dead_letters")]
        return [body["id"] for body in bodies if body.get("replay-name") == name]

    def rows(self, table):
        """How many rows a table has."""
        with contextlib.closing(sqlite3.connect(f"file:{self.data}/penstock.db?mode=ro", uri=True)) as database:
            return database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


@pytest.fixture
def started(tmp_path):
    """Starts a server; all are ended with the test."""
    with contextlib.ExitStack() as stack:

        def start_one(crash=""):
            server = Server(tmp_path, crash)
            stack.callback(server.end)
            return server

        yield start_one


@pytest.mark.timeout(200)
def test_no_event_is_lost(started):
    server = started()
    server.client("s3").create_bucket(Bucket="orders")
    events = server.client("events")
    events.put_rule(Name="all", EventPattern=json.dumps({"source": ["shop", "aws.s3"]}))
    events.put_targets(Rule="all", Targets=[{"Id": "1", "Arn": TOPIC}])
    server.end()
    expected = set()
    for point in POINTS:
        server = started(f"{point}:2")
        events, s3 = server.client("events"), server.client("s3")
        number = 0
        with contextlib.suppress(botocore.exceptions.BotoCoreError):
            while server.process.poll() is None:
                number += 1
                key = f"{point}-{number}"
                s3.put_object(Bucket="orders", Key=key, Body=b"x")
                expected.add(key)
                entry = {"Source": "shop", "DetailType": "x", "Detail": "{}"}
                expected.add(events.put_events(Entries=[entry])["Entries"][0]["EventId"])
        assert server.process.wait(60) == -9, point
        server.end()
    server = started()
    until(lambda: expected <= server.kept(), why=lambda: expected - server.kept())


@pytest.mark.timeout(200)
def test_a_replay_goes_on_where_it_was(started):
    """Each event arrives again, and what was written before the crash does not a second time."""
    server = started()
    events = server.client("events")
    bus = "arn:aws:events:us-east-1:111111111111:event-bus/default"
    events.create_archive(ArchiveName="all", EventSourceArn=bus)
    put = [{"Source": "shop", "DetailType": "x", "Detail": "{}"} for _ in range(5)]
    ids = {one["EventId"] for one in events.put_events(Entries=put)["Entries"]}
    events.put_rule(Name="again", EventPattern=json.dumps({"replay-name": [{"exists": True}]}))
    events.put_targets(Rule="again", Targets=[{"Id": "1", "Arn": TOPIC}])
    server.end()
    hour = dt.timedelta(hours=1)
    now = dt.datetime.now(dt.UTC)
    for point, times in REPLAYS.items():
        server = started(f"{point}:{times}")
        asked = {
            "ReplayName": point,
            "EventSourceArn": bus.replace("event-bus/default", "archive/all"),
            "EventStartTime": now - hour,
            "EventEndTime": now + hour,
            "Destination": {"Arn": bus},
        }
        with contextlib.suppress(botocore.exceptions.BotoCoreError):
            server.client("events").start_replay(**asked)
        assert server.process.wait(60) == -9, point
        server.end()
        server = started()
        events = server.client("events")
        until(lambda events=events, point=point: events.describe_replay(ReplayName=point)["State"] == "COMPLETED")
        until(lambda server=server, point=point: len(server.replayed(point)) >= 5)
        server.end()
        assert sorted(server.replayed(point)) == sorted(ids)


@pytest.mark.timeout(200)
def test_what_a_schedule_asks_is_done_though_the_server_dies(started):
    """Between the answer of its target and the note of it; a rate begins at once."""
    server = started("schedules.invoked:1")
    trust = {"Effect": "Allow", "Principal": {"Service": "scheduler.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    iam = server.client("iam")
    role = iam.create_role(RoleName="clock", AssumeRolePolicyDocument=document)["Role"]["Arn"]
    allowed = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sns:*", "Resource": "*"}]}
    iam.put_role_policy(RoleName="clock", PolicyName="p", PolicyDocument=json.dumps(allowed))
    target = {"Arn": "arn:aws:scheduler:::aws-sdk:sns:createTopic", "RoleArn": role, "Input": '{"Name": "made"}'}
    server.client("scheduler").create_schedule(
        Name="s", ScheduleExpression="rate(1 day)", FlexibleTimeWindow={"Mode": "OFF"}, Target=target
    )
    assert server.process.wait(60) == -9
    server.end()
    server = started()
    topics = server.client("sns")
    until(lambda: not server.rows("scheduler_invocations"))
    assert [one["TopicArn"].rpartition(":")[2] for one in topics.list_topics()["Topics"]] == ["made"]
    assert not server.rows("event_dead_letters")
