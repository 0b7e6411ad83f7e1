"""kill -9 of the server at every named crash point, over three continuous runs of the whole road.

Whatever is killed when: every execution ends, one push gives one execution, each build command takes effect exactly once or its build ends as
FAULT in words, and the host runs what the last run released.
"""

from __future__ import annotations

import pytest
from penstock_road import NAME, Road

from penstock.store.crash import points

RUNS = 3
LAPS = 6  # at most, per run; one or two reach everything
# Reached only by what a short run has no time for: the collector, and the second look at a deployment. Their own rooms' tests reach them.
SLOW = {"objects.blobs_given_up", "objects.strays_given_up", "deployments.before_watch_commit"}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("run", range(RUNS))
def test_a_continuous_run_survives_kill_9_at_its_crash_points(tmp_path_factory, run):
    wanted = [name for name in points() if name not in SLOW][run::RUNS]
    with Road(tmp_path_factory.mktemp(f"road-{run}") / "road") as road:
        road.start([])
        road.build()
        road.start_over(wanted)
        for lap in range(1, LAPS + 1):
            ended = road.lap(f"1.0.{lap}")
            assert ended["status"] in ("Succeeded", "Failed"), ended
            _one_push_one_execution(road)
            road.errand(lap)
            if not road.points_left:
                break
        assert not road.points_left, f"never reached: {road.points_left}"
        assert sorted(road.deaths) == sorted(wanted)
        last = road.lap("2.0.0")
        assert last["status"] == "Succeeded", road.why(last["pipelineExecutionId"]) + road.log()[-3000:]
        assert (road.host_root / "srv" / "release.txt").read_text() == "2.0.0"
        _commands_took_effect_once(road)
        _everything_has_ended(road)


def _one_push_one_execution(road: Road) -> None:
    by_commit: dict[str, int] = {}
    for summary in road.executions():
        for source in summary.get("sourceRevisions", []):
            by_commit[source["revisionId"]] = by_commit.get(source["revisionId"], 0) + 1
    assert len(by_commit) == road.pushes
    assert set(by_commit.values()) == {1}


def _commands_took_effect_once(road: Road) -> None:
    codebuild = road.client("codebuild")
    ids = codebuild.list_builds_for_project(projectName=NAME)["ids"]
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


def _everything_has_ended(road: Road) -> None:
    assert {summary["status"] for summary in road.executions()} <= {"Succeeded", "Failed"}
    codedeploy = road.client("codedeploy")
    deployments = codedeploy.list_deployments(applicationName=NAME, deploymentGroupName=NAME)["deployments"]
    for start in range(0, len(deployments), 25):
        for info in codedeploy.batch_get_deployments(deploymentIds=deployments[start : start + 25])["deploymentsInfo"]:
            assert info["status"] in ("Succeeded", "Failed", "Stopped"), info
