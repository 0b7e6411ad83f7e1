"""kill -9 of the server at every named crash point, over three continuous runs of the end-to-end scenario.

Whatever is killed when: every execution ends, one push gives one execution, each build command takes effect exactly once or its build ends as
FAULT with a reason, and the host runs what the last run released.
"""

from __future__ import annotations

import pytest
from penstock_scenario import NAME, Scenario
from penstock_scenario_checks import commands_took_effect_once, everything_has_ended, one_push_one_execution

from penstock.store.failpoints import points

RUNS = 3
LAPS = 6  # at most, per run; one or two reach everything
# Reached only by what a short run of one host has no time or size for: tests/objects/test_process.py, tests/deployments/test_crashes.py,
# tests/keys/test_rotation.py, tests/secrets/test_rotation.py, tests/monitoring/test_crashes.py, tests/events/test_crashes.py and
# tests/cli/test_rekey.py end at these.
SLOW = {
    "objects.blobs_given_up",  # the collector
    "objects.strays_given_up",
    "deployments.before_watch_commit",  # the second look at a deployment
    "deployments.before_proceed_commit",  # fleets of more than 100 hosts
    "events.accepted",  # a rule of EventBridge that takes what happens
    "events.arrived",
    "events.delivered",
    "events.replay_started",
    "events.replayed",
    "logs.queried",  # a query: tests/logs/test_crashes.py
    "logs.segment_written",  # a stream of 8 MB: tests/logs/test_crashes.py
    "logs.segment_kept",
    "logs.segments_dropped",
    "logs.sent",  # a subscription filter: tests/logs/test_crashes.py
    "replication.copied",  # an action in another region: tests/pipelines/test_regions.py
    "keys.rotating",  # a key that is 90 days old
    "keys.rotated",
    "secrets.rotation_committed",  # a secret that a command rotates
    "schedules.invoked",  # a schedule of EventBridge Scheduler
    "secrets.step_ran",
    "secrets.step_noted",
    "monitoring.evaluated",  # an alarm
    "monitoring.acted",
    "monitoring.source_read",  # a source of metrics
    "sealing.batch",  # a change of the master key
    "sealing.batch_committed",
    "rekey.prepared",
    "rekey.promoted",
    "rekey.retired",
    "topics.fanned_out",  # tests/topics/test_crashes.py
    "topics.delivered",
    "workers.offered",  # job workers: tests/pipelines/test_worker_crashes.py
    "workers.acknowledged",
    "workers.before_result_commit",
    "workers.result_put",
}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("run", range(RUNS))
def test_a_continuous_run_survives_kill_9_at_its_crash_points(tmp_path_factory, run):
    wanted = [name for name in points() if name not in SLOW][run::RUNS]
    with Scenario(tmp_path_factory.mktemp(f"scenario-{run}") / "scenario") as scenario:
        scenario.start([])
        scenario.build()
        scenario.start_over(wanted)
        for lap in range(1, LAPS + 1):
            ended = scenario.lap(f"1.0.{lap}")
            assert ended["status"] in ("Succeeded", "Failed"), ended
            one_push_one_execution(scenario)
            scenario.errand(lap)
            if not scenario.points_left:
                break
        assert not scenario.points_left, f"never reached: {scenario.points_left}"
        assert sorted(scenario.deaths) == sorted(wanted)
        last = scenario.lap("2.0.0")
        assert last["status"] == "Succeeded", scenario.why(last["pipelineExecutionId"]) + scenario.log()[-3000:]
        assert (scenario.host_root / "srv" / "release.txt").read_text() == "2.0.0"
        commands_took_effect_once(scenario, NAME)
        everything_has_ended(scenario, NAME)


@pytest.mark.timeout(200)
def test_what_an_action_started_is_not_started_again(tmp_path_factory):
    """The server dies between the answer of StartBuild, then of CreateDeployment, and the pipeline's note of it."""
    with Scenario(tmp_path_factory.mktemp("started") / "scenario") as scenario:
        scenario.start([])
        scenario.build()
        for version, started in (("1.0.0", 2), ("1.1.0", 4)):  # a run starts: fetch, build, approve, deploy
            scenario.start_over([f"pipelines.after_start:{started}"])
            ended = scenario.lap(version)
            assert ended["status"] == "Succeeded", scenario.why(ended["pipelineExecutionId"])
            assert not scenario.points_left
            assert (scenario.host_root / "srv" / "release.txt").read_text() == version
        builds = scenario.client("codebuild").list_builds_for_project(projectName=NAME)["ids"]
        where = {"applicationName": NAME, "deploymentGroupName": NAME}
        assert len(builds) == len(scenario.client("codedeploy").list_deployments(**where)["deployments"]) == 2
        commands_took_effect_once(scenario, NAME)
