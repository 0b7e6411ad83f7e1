"""What must hold over the end-to-end scenario, whatever was killed when."""

from __future__ import annotations

import re

from penstock_live import histories_hold
from penstock_scenario import LINES, NAME, Scenario


def one_push_one_execution(scenario: Scenario) -> None:
    by_commit: dict[str, int] = {}
    for summary in scenario.executions():
        for source in summary.get("sourceRevisions", []):
            by_commit[source["revisionId"]] = by_commit.get(source["revisionId"], 0) + 1
    assert len(by_commit) == scenario.pushes
    assert set(by_commit.values()) == {1}


def commands_took_effect_once(scenario: Scenario, project: str) -> None:
    codebuild = scenario.client("codebuild")
    ids = codebuild.list_builds_for_project(projectName=project)["ids"]
    builds = {build["id"]: build for build in codebuild.batch_get_builds(ids=ids)["builds"]}
    effects: dict[str, dict[str, int]] = {}
    for build, command, count in scenario.effects_of_builds():
        effects.setdefault(build, {})[command] = count
        assert count == 1, f"{command} of {build} took effect {count} times"
    for id_, build in builds.items():
        if build["buildStatus"] == "SUCCEEDED":
            assert set(effects[id_]) == {"pre_build", "build", "post_build"}
        else:
            assert build["buildStatus"] == "FAULT", build
            assert any(context.get("message") for phase in build["phases"] for context in phase.get("contexts", [])), (
                build
            )


def everything_has_ended(scenario: Scenario, application: str) -> None:
    assert {summary["status"] for summary in scenario.executions()} <= {"Succeeded", "Failed"}
    codedeploy = scenario.client("codedeploy")
    deployments = codedeploy.list_deployments(applicationName=application, deploymentGroupName=application)[
        "deployments"
    ]
    for start in range(0, len(deployments), 25):
        for info in codedeploy.batch_get_deployments(deploymentIds=deployments[start : start + 25])["deploymentsInfo"]:
            assert info["status"] in ("Succeeded", "Failed", "Stopped"), info
    histories_hold(scenario.data_dir, scenario.database)


def every_log_line_is_there_once(scenario: Scenario, project: str) -> None:
    """The lines that the command of a build wrote, in the order of its writing, for each build that succeeded."""
    codebuild, logs = scenario.client("codebuild"), scenario.client("logs")
    ids = codebuild.list_builds_for_project(projectName=project)["ids"]
    for build in codebuild.batch_get_builds(ids=ids)["builds"]:
        if build["buildStatus"] != "SUCCEEDED":
            continue
        where = {"logGroupName": build["logs"]["groupName"], "logStreamName": build["logs"]["streamName"]}
        found: list[str] = []
        token: dict[str, str] = {}
        while True:
            page = logs.get_log_events(**where, startFromHead=True, **token)
            if not page["events"]:
                break
            found += [event["message"].strip() for event in page["events"]]
            token = {"nextToken": page["nextForwardToken"]}
        lines = [line for line in found if re.fullmatch(r"line \d+", line)]
        assert lines == [f"line {number}" for number in range(1, LINES + 1)], build["id"]


def every_action_has_ended_once(scenario: Scenario) -> None:
    """No action of an execution is reported twice, and none hangs."""
    for summary in scenario.executions():
        listed = scenario.client("codepipeline").list_action_executions(
            pipelineName=NAME, filter={"pipelineExecutionId": summary["pipelineExecutionId"]}
        )["actionExecutionDetails"]
        ids = [detail["actionExecutionId"] for detail in listed]
        assert len(ids) == len(set(ids))
        assert all(detail["status"] != "InProgress" for detail in listed), summary
