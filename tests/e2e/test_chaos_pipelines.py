"""kill -9 at random moments under many pipelines that anything happens to: what was answered is there, all come to an end, and
every history keeps to the rules of the engine. The long version, with fifty pipelines, is `make prove`."""

from __future__ import annotations

import itertools
import json
import random
import time
from typing import Any

import pytest
from penstock_live import histories_hold
from penstock_scenario import Scenario

TRUST = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "codepipeline.amazonaws.com"}, "Action": "sts:AssumeRole"}]}  # fmt: skip
ALL = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
# What somebody is told whose wish comes too late, twice, or for a stage where it cannot be.
REFUSED = (
    "ApprovalAlreadyCompletedException", "InvalidApprovalTokenException", "StageNotRetryableException", "NotLatestPipelineExecutionException",
    "UnableToRollbackStageException", "PipelineExecutionOutdatedException", "ConditionNotOverridableException",
    "PipelineExecutionNotStoppableException", "DuplicatedStopRequestException", "ConcurrentPipelineExecutionsLimitExceededException",
    "PipelineNameInUseException", "BucketAlreadyOwnedByYou", "EntityAlreadyExists", "EntityAlreadyExistsException",
)  # fmt: skip
_SECONDS = 180  # for everything to come to an end


class Crowd:
    """Pipelines of every mode, with conditions, approvals, retries and rollbacks, and somebody who plays with them."""

    def __init__(self, scenario: Scenario, seed: int, pipelines: int) -> None:
        self.scenario, self.chance = scenario, random.Random(seed)
        self.names = [f"p{number}" for number in range(pipelines)]
        self.modes: dict[str, str] = {}
        self.started: dict[str, set[str]] = {name: set() for name in self.names}
        self.tokens = itertools.count()

    def call(self, service: str, operation: str, **input: Any) -> dict[str, Any]:
        method = getattr(self.scenario.client(service), operation)
        return self.scenario.insist(lambda: method(**input), already=REFUSED) or {}

    def make(self) -> None:
        for bucket in ("sources", "artifacts", "target-here"):
            self.call("s3", "create_bucket", Bucket=bucket)
            self.call("s3", "put_bucket_versioning", Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        self.call("s3", "put_object", Bucket="sources", Key="app.zip", Body=b"PK\5\6" + bytes(18))
        self.call("iam", "create_role", RoleName="crowd", AssumeRolePolicyDocument=json.dumps(TRUST))
        self.call("iam", "put_role_policy", RoleName="crowd", PolicyName="all", PolicyDocument=json.dumps(ALL))
        for name in self.names:
            self.call("codepipeline", "create_pipeline", pipeline=self._declared(name))

    def _declared(self, name: str) -> dict[str, Any]:
        chance = self.chance
        mode = self.modes.setdefault(name, chance.choice(("SUPERSEDED", "QUEUED", "PARALLEL")))

        def kind(category: str, provider: str) -> dict[str, str]:
            return {"category": category, "owner": "AWS", "provider": provider, "version": "1"}

        source = {
            "name": "App",
            "actionTypeId": kind("Source", "S3"),
            "configuration": {"S3Bucket": "sources", "S3ObjectKey": "app.zip", "PollForSourceChanges": "false"},
            "outputArtifacts": [{"name": "App"}],
        }
        put = {
            "name": "Put",
            "actionTypeId": kind("Deploy", "S3"),
            "configuration": {
                "BucketName": "target-#{variables.Where}",
                "Extract": "false",
                "ObjectKey": f"{name}.zip",
            },
            "inputArtifacts": [{"name": "App"}],
        }
        ask = {"name": "Ask", "actionTypeId": kind("Approval", "Manual"), "runOrder": chance.choice((1, 2))}
        holds = {
            "name": "Go",
            "ruleTypeId": {"category": "Rule", "owner": "AWS", "provider": "VariableCheck", "version": "1"},
            "configuration": {"Variable": "#{variables.Go}", "Value": "yes", "Operator": "EQ"},
        }
        stages: list[dict[str, Any]] = [{"name": "Source", "actions": [source]}]
        for stage, actions in (("Work", [put, *([ask] if chance.random() < 0.5 else [])]), ("Last", [put])):
            made: dict[str, Any] = {"name": stage, "actions": actions}
            if chance.random() < 0.3:
                result = chance.choice(("SKIP", "FAIL"))
                made["beforeEntry"] = {"conditions": [{"result": result, "rules": [holds]}]}
            if chance.random() < 0.3:
                back = "ROLLBACK" if mode != "PARALLEL" and chance.random() < 0.5 else "FAIL"
                made["onSuccess"] = {"conditions": [{"result": back, "rules": [holds]}]}
            fails = chance.choice(("", "RETRY", "ROLLBACK"))
            if fails == "RETRY" or (fails and mode != "PARALLEL"):
                made["onFailure"] = {"result": fails}
            stages.append(made)
        variables = [{"name": "Where", "defaultValue": "here"}, {"name": "Go", "defaultValue": "yes"}]
        return {
            "name": name,
            "roleArn": "arn:aws:iam::111111111111:role/crowd",
            "artifactStore": {"type": "S3", "location": "artifacts"},
            "pipelineType": "V2",
            "executionMode": mode,
            "variables": variables,
            "stages": stages,
        }

    def play(self) -> None:
        """One thing that somebody wishes."""
        chance, name = self.chance, self.chance.choice(self.names)
        stage = {"pipelineName": name, "stageName": chance.choice(("Work", "Last"))}
        run = chance.choice(sorted(self.started[name])) if self.started[name] else ""
        wish = chance.random()
        if wish < 0.45 or not run:
            values = {"Where": chance.choice(("here", "here", "lost")), "Go": chance.choice(("yes", "yes", "no"))}
            variables = [{"name": key, "value": value} for key, value in values.items()]
            token = f"start-{next(self.tokens)}"  # a start that is asked for again is the same one
            made = self.call(
                "codepipeline", "start_pipeline_execution", name=name, variables=variables, clientRequestToken=token
            )
            self.started[name] |= {made["pipelineExecutionId"]} if made else set()
        elif wish < 0.65:
            self.answer(name, chance.choice(("Approved", "Approved", "Rejected")))
        elif wish < 0.70:
            self.call("codepipeline", "stop_pipeline_execution", pipelineName=name, pipelineExecutionId=run, abandon=chance.random() < 0.5)  # fmt: skip
        elif wish < 0.80:
            self.call("codepipeline", "retry_stage_execution", **stage, pipelineExecutionId=run, retryMode=chance.choice(("FAILED_ACTIONS", "ALL_ACTIONS")))  # fmt: skip
        elif wish < 0.86:
            made = self.call("codepipeline", "rollback_stage", **stage, targetPipelineExecutionId=run)
            self.started[name] |= {made["pipelineExecutionId"]} if made else set()
        elif wish < 0.91:
            self.call("codepipeline", "override_stage_condition", **stage, pipelineExecutionId=run, conditionType=chance.choice(("BEFORE_ENTRY", "ON_SUCCESS")))  # fmt: skip
        elif wish < 0.94:
            self.call("codepipeline", "disable_stage_transition", **stage, transitionType=chance.choice(("Inbound", "Outbound")), reason="chaos")  # fmt: skip
        elif wish < 0.98:
            self._open(name)
        else:
            self.call("codepipeline", "update_pipeline", pipeline=self._declared(name))

    def _open(self, name: str) -> None:
        for stage, way in itertools.product(("Source", "Work", "Last"), ("Inbound", "Outbound")):
            self.call("codepipeline", "enable_stage_transition", pipelineName=name, stageName=stage, transitionType=way)

    def answer(self, name: str, status: str) -> None:
        """Answer every approval of a pipeline that is open."""
        listed = self.call("codepipeline", "list_action_executions", pipelineName=name)["actionExecutionDetails"]
        tokens = [
            one["output"]["executionResult"].get("externalExecutionId")
            for one in listed
            if one["status"] == "InProgress" and one["actionName"] == "Ask"
        ]
        state = self.call("codepipeline", "get_pipeline_state", name=name)["stageStates"]
        tokens += [one.get("latestExecution", {}).get("token") for stage in state for one in stage["actionStates"]]
        for token in filter(None, tokens):
            self.call("codepipeline", "put_approval_result", pipelineName=name, stageName="Work", actionName="Ask", token=token, result={"status": status, "summary": ""})  # fmt: skip

    def runs(self, name: str) -> dict[str, str]:
        """The status of every run by its id."""
        found: dict[str, str] = {}
        token: dict[str, str] = {}
        while True:
            page = self.call("codepipeline", "list_pipeline_executions", pipelineName=name, **token)
            found |= {one["pipelineExecutionId"]: one["status"] for one in page["pipelineExecutionSummaries"]}
            if "nextToken" not in page:
                return found
            token = {"nextToken": page["nextToken"]}

    def come_to_an_end(self) -> None:
        """Open every transition and approve everything; condition by condition, until nothing is in progress."""
        deadline = time.monotonic() + _SECONDS
        left = list(self.names)
        for name in left:
            self._open(name)
        while left:
            assert time.monotonic() < deadline, {name: self.runs(name) for name in left[:3]}
            for name in left:
                self.answer(name, "Approved")
            left = [name for name in left if {"InProgress", "Stopping"} & set(self.runs(name).values())]

    def check(self) -> None:
        for name in self.names:
            runs = self.runs(name)
            assert self.started[name] <= runs.keys(), "a run that was answered is not there"
        histories_hold(self.scenario.data_dir, self.scenario.database)


def chaos(folder, *, seed: int, pipelines: int, wishes: int, kills: int, **where) -> None:
    with Scenario(folder, **where) as scenario:
        scenario.start([])
        crowd = Crowd(scenario, seed, pipelines)
        crowd.make()
        scenario.kill_at(iter([crowd.chance.uniform(0.05, 1.0) for _ in range(kills)]))
        for count in itertools.count():
            if count >= wishes and scenario.kills >= kills:
                break
            assert count < 20 * wishes, "the kills do not come"
            crowd.play()
        crowd.come_to_an_end()
        crowd.check()


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
def test_pipelines_that_anything_happens_to_survive_random_kills(tmp_path):
    chaos(tmp_path / "scenario", seed=5, pipelines=8, wishes=120, kills=4)


@pytest.mark.timeout(300)
def test_so_they_do_on_postgresql_which_crashes_too(tmp_path, on_postgresql):
    chaos(tmp_path / "scenario", seed=6, pipelines=6, wishes=80, kills=3, **on_postgresql)


@pytest.mark.prove
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(30, 35))
def test_fifty_pipelines_survive_many_random_kills(tmp_path, seed):
    chaos(tmp_path / "scenario", seed=seed, pipelines=50, wishes=2_000, kills=30)


@pytest.mark.prove
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(40, 43))
def test_fifty_pipelines_on_postgresql_survive_many_random_kills_of_both(tmp_path, on_postgresql, seed):
    chaos(tmp_path / "scenario", seed=seed, pipelines=50, wishes=1_000, kills=20, **on_postgresql)
