"""kill -9 of the server at every named crash point, over three continuous runs of the whole road.

Whatever is killed when: every execution ends, one push gives one execution, each build command takes effect exactly once or its build ends as
FAULT in words, and the host runs what the last run released.
"""

from __future__ import annotations

import pytest
from penstock_road import NAME, Road
from penstock_road_checks import commands_took_effect_once, everything_has_ended, one_push_one_execution

from penstock.store.crash import points

RUNS = 3
LAPS = 6  # at most, per run; one or two reach everything
# Reached only by what a short run of one host has no time or size for: tests/objects/test_process.py and tests/deployments/test_crashes.py
# kill at these.
SLOW = {
    "objects.blobs_given_up",  # the collector
    "objects.strays_given_up",
    "deployments.before_watch_commit",  # the second look at a deployment
    "deployments.before_proceed_commit",  # fleets of more than 100 hosts
}


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
            one_push_one_execution(road)
            road.errand(lap)
            if not road.points_left:
                break
        assert not road.points_left, f"never reached: {road.points_left}"
        assert sorted(road.deaths) == sorted(wanted)
        last = road.lap("2.0.0")
        assert last["status"] == "Succeeded", road.why(last["pipelineExecutionId"]) + road.log()[-3000:]
        assert (road.host_root / "srv" / "release.txt").read_text() == "2.0.0"
        commands_took_effect_once(road, NAME)
        everything_has_ended(road, NAME)
