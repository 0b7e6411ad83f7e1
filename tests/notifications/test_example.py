"""The example, taken as it is: what it makes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "notifications" / "notify.sh"
SLACK = "https://hooks.slack.com/services/T000/B000/XXXX"
TEAMS = "https://prod-7.westeurope.logic.azure.com:443/workflows/1?sig=x"


def run(live, *arguments):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**live.environment(), "PATH": path}
    return subprocess.run(
        ["sh", str(EXAMPLE), *arguments], env=environment, capture_output=True, text=True, timeout=500, check=False
    )


@pytest.mark.prove  # eight processes of the AWS CLI, each of which imports it
@pytest.mark.timeout(600)
def test_the_example_notifies_chats_of_a_pipeline_and_a_project(live):
    done = run(live, "shop", "shop-build", SLACK, TEAMS)
    assert done.returncode == 0, done.stderr
    rules = live.client("codestar-notifications")
    (found,) = rules.list_notification_rules()["NotificationRules"]
    rule = rules.describe_notification_rule(Arn=found["Arn"])
    topic = rule["Targets"][0]["TargetAddress"]
    assert (rule["Resource"].rpartition(":")[2], topic.rpartition(":")[2]) == ("shop", "shop-news")
    listed = live.client("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    # Chats need no confirmation: they have the ARN of a subscription.
    assert {(one["Endpoint"], one["SubscriptionArn"].startswith(topic)) for one in listed} == {
        (SLACK, True),
        (TEAMS, True),
    }
    events = live.client("events")
    assert [one["Arn"] for one in events.list_targets_by_rule(Rule="shop-build-fails")["Targets"]] == [topic]
    pattern = json.loads(events.describe_rule(Name="shop-build-fails")["EventPattern"])
    assert pattern["detail"]["project-name"] == ["shop-build"]
