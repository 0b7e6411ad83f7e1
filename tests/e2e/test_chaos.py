"""kill -9 of the server at random moments of the end-to-end scenario. The long version is `make prove`."""

from __future__ import annotations

import random

import pytest
from penstock_scenario import NAME, Scenario
from penstock_scenario_checks import (
    commands_took_effect_once,
    every_action_has_ended_once,
    every_log_line_is_there_once,
    everything_has_ended,
    one_push_one_execution,
)


def chaos(folder, *, seed: int, laps: int, kills: int, **where) -> None:
    source = random.Random(seed)
    with Scenario(folder, **where) as scenario:
        scenario.start([])
        scenario.build()
        scenario.kill_at(iter([source.uniform(0.05, 1.2) for _ in range(kills)]))
        lap = 0
        while lap < laps or scenario.kills < kills:
            lap += 1
            assert lap < laps + 10 * kills, "the kills do not come"
            ended = scenario.lap(f"1.0.{lap}")
            assert ended["status"] in ("Succeeded", "Failed"), scenario.why(ended["pipelineExecutionId"])
            one_push_one_execution(scenario)
            scenario.errand(lap)
        last = scenario.lap("2.0.0")
        assert last["status"] == "Succeeded", scenario.why(last["pipelineExecutionId"]) + scenario.log()[-3000:]
        assert (scenario.host_root / "srv" / "release.txt").read_text() == "2.0.0"
        commands_took_effect_once(scenario, NAME)
        everything_has_ended(scenario, NAME)
        every_action_has_ended_once(scenario)
        every_log_line_is_there_once(scenario, NAME)


@pytest.fixture
def on_postgresql(postgresql):
    """The database of a scenario, and how it crashes."""
    name = postgresql.create()

    def restart() -> None:
        postgresql.stop()
        postgresql.start()

    yield {"database": postgresql.url(name), "restart_database": restart}
    postgresql.drop(name)


@pytest.mark.timeout(200)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_run_survives_random_kills(tmp_path_factory, seed):
    chaos(tmp_path_factory.mktemp("chaos") / "scenario", seed=seed, laps=1, kills=4)


@pytest.mark.timeout(300)
def test_a_run_on_postgresql_survives_random_kills_of_both(tmp_path_factory, on_postgresql):
    chaos(tmp_path_factory.mktemp("chaos") / "scenario", seed=3, laps=1, kills=4, **on_postgresql)


@pytest.mark.prove
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(20, 26))
def test_many_runs_on_postgresql_survive_many_random_kills(tmp_path_factory, on_postgresql, seed):
    chaos(tmp_path_factory.mktemp("chaos") / "scenario", seed=seed, laps=10, kills=40, **on_postgresql)


@pytest.mark.prove
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(10, 20))
def test_many_runs_survive_many_random_kills(tmp_path_factory, seed):
    chaos(tmp_path_factory.mktemp("chaos") / "scenario", seed=seed, laps=10, kills=40)
