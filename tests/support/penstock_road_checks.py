"""What must hold on the whole road, whatever was killed when."""

from __future__ import annotations

from penstock_road import Road


def one_push_one_execution(road: Road) -> None:
    by_commit: dict[str, int] = {}
    for summary in road.executions():
        for source in summary.get("sourceRevisions", []):
            by_commit[source["revisionId"]] = by_commit.get(source["revisionId"], 0) + 1
    assert len(by_commit) == road.pushes
    assert set(by_commit.values()) == {1}


def commands_took_effect_once(road: Road, project: str) -> None:
    codebuild = road.client("codebuild")
    ids = codebuild.list_builds_for_project(projectName=project)["ids"]
    builds = {build["id"]: build for build in codebuild.batch_get_builds(ids=ids)["builds"]}
    effects: dict[str, dict[str, int]] = {}
    for build, command, count in road.effects_of_builds():
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


def everything_has_ended(road: Road, application: str) -> None:
    assert {summary["status"] for summary in road.executions()} <= {"Succeeded", "Failed"}
    codedeploy = road.client("codedeploy")
    deployments = codedeploy.list_deployments(applicationName=application, deploymentGroupName=application)[
        "deployments"
    ]
    for start in range(0, len(deployments), 25):
        for info in codedeploy.batch_get_deployments(deploymentIds=deployments[start : start + 25])["deploymentsInfo"]:
            assert info["status"] in ("Succeeded", "Failed", "Stopped"), info
