"""Actions of partners: a type of one account, in a pipeline of another, done by workers of a third. boto3 against the complete application."""

from __future__ import annotations

import json

import pytest
from botocore.exceptions import ClientError
from penstock_waiting import until

from penstock.pipelines import offers
from penstock.store.records import jobs

CUSTOMER, PARTNER, WORKERS, STRANGER = "111111111111", "222222222222", "333333333333", "444444444444"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "codepipeline.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ],
}
MAY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
COUNTS = {"minimumCount": 1, "maximumCount": 1}
ID = {"category": "Test", "owner": "ThirdParty", "provider": "Prober", "version": "1"}


def prop(name, *, optional=False, echo=True, **more):
    return {"name": name, "optional": optional, "key": False, "noEcho": not echo, **more}


TYPE = {
    "id": ID,
    "description": "Probes what was built",
    "executor": {
        "type": "JobWorker",
        "configuration": {"jobWorkerExecutorConfiguration": {"pollingAccounts": [WORKERS]}},
        "policyStatementsTemplate": "{}",
        "jobTimeout": 60,
    },
    "inputArtifactDetails": COUNTS,
    "outputArtifactDetails": {"minimumCount": 0, "maximumCount": 10},
    "permissions": {"allowedAccounts": [CUSTOMER]},
    "properties": [
        prop("Site"),
        prop("Key", echo=False),
        prop("Depth", optional=True, queryable=False, description="How far"),
    ],
    "urls": {"configurationUrl": "https://prober.test/", "entityUrlTemplate": "https://prober.test/{Config:Site}"},
}


@pytest.fixture(scope="module")
def accounts(live):
    """Clients of each account, by service."""
    keys = {CUSTOMER: live.keys()}
    for account in (PARTNER, WORKERS, STRANGER):
        made = live.client("penstock").create_account(accountId=account)
        keys[account] = {"aws_access_key_id": made["accessKeyId"], "aws_secret_access_key": made["secretAccessKey"]}
    return {
        account: {name: live.client(name, keys=one) for name in ("codepipeline", "penstock")}
        for account, one in keys.items()
    }


@pytest.fixture(scope="module")
def role(live, accounts):
    """The role of the customer's pipelines; the type is registered."""
    iam, s3 = live.client("iam"), live.client("s3")
    made = iam.create_role(RoleName="pipeline", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    iam.put_role_policy(RoleName="pipeline", PolicyName="all", PolicyDocument=json.dumps(MAY))
    s3.create_bucket(Bucket="store")
    s3.put_bucket_versioning(Bucket="store", VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket="store", Key="app.zip", Body=b"PK\5\6" + bytes(18))
    accounts[PARTNER]["penstock"].register_action_type(actionType=TYPE)
    return made


def declared(name, role, **configuration):
    source = {
        "name": "Fetch",
        "actionTypeId": {"category": "Source", "owner": "AWS", "provider": "S3", "version": "1"},
        "configuration": {"S3Bucket": "store", "S3ObjectKey": "app.zip", "PollForSourceChanges": "false"},
        "outputArtifacts": [{"name": "App"}],
    }
    probe = {
        "name": "Probe",
        "actionTypeId": ID,
        "configuration": {"Site": "shop", "Key": "prober-canary", **configuration},
        "inputArtifacts": [{"name": "App"}],
    }
    stages = [{"name": "Source", "actions": [source]}, {"name": "Probe", "actions": [probe]}]
    return {"name": name, "roleArn": role, "artifactStore": {"type": "S3", "location": "store"}, "stages": stages}


def latest(client, name):
    return client.get_pipeline_state(name=name)["stageStates"][1]["actionStates"][0].get("latestExecution", {})


def refusal(call):
    with pytest.raises(ClientError) as refused:
        call()
    return refused.value.response["Error"]["Code"]


def test_a_partner_probes_for_a_customer(live, accounts, role):
    customer, workers = accounts[CUSTOMER]["codepipeline"], accounts[WORKERS]["codepipeline"]
    customer.create_pipeline(pipeline=declared("early", role))
    failed = until(lambda: (now := latest(customer, "early")).get("status") == "Failed" and now)
    assert "penstock:CreateActionTypeClient" in failed["errorDetails"]["message"]
    pair, again = (accounts[CUSTOMER]["penstock"].create_action_type_client(**ID) for _ in range(2))
    assert (pair["clientId"], pair["clientToken"]) == (again["clientId"], again["clientToken"])
    made = customer.create_pipeline(pipeline=declared("probed", role))
    assert made["pipeline"]["stages"][1]["actions"][0]["configuration"] == {"Site": "shop", "Key": "****"}
    (job,) = until(lambda: workers.poll_for_third_party_jobs(actionTypeId=ID, maxBatchSize=5)["jobs"])
    assert job == {"jobId": job["jobId"], "clientId": pair["clientId"]}
    shown = {"jobId": job["jobId"], "clientToken": pair["clientToken"]}
    details = workers.get_third_party_job_details(**shown)["jobDetails"]
    data = details["data"]
    assert data["actionConfiguration"]["configuration"] == {"Site": "shop", "Key": "prober-canary"}
    assert data["pipelineContext"].keys() == {"pipelineName", "stage", "action"}
    assert data["artifactCredentials"].keys() == {"accessKeyId", "secretAccessKey", "sessionToken"}
    wrong = {"jobId": job["jobId"], "clientToken": "x"}
    for call in (
        lambda: workers.get_third_party_job_details(**wrong),
        lambda: workers.acknowledge_third_party_job(**wrong, nonce=details["nonce"]),
        lambda: workers.put_third_party_job_success_result(**wrong),
        lambda: workers.put_third_party_job_failure_result(
            **wrong, failureDetails={"type": "JobFailed", "message": "m"}
        ),
    ):
        assert refusal(call) == "InvalidClientTokenException"
    assert refusal(lambda: workers.put_third_party_job_success_result(**shown)) == "InvalidJobStateException"
    assert refusal(lambda: workers.acknowledge_third_party_job(**shown, nonce="3")) == "InvalidNonceException"
    taken = workers.acknowledge_third_party_job(**shown, nonce=details["nonce"])
    assert taken["status"] == "InProgress"
    workers.put_third_party_job_success_result(
        **shown, continuationToken="more", executionDetails={"summary": "half", "percentComplete": 50}
    )
    assert (latest(customer, "probed")["status"], latest(customer, "probed")["percentComplete"]) == ("InProgress", 50)
    assert refusal(lambda: workers.get_third_party_job_details(**shown)) == "InvalidJobException"
    (job,) = until(lambda: workers.poll_for_third_party_jobs(actionTypeId=ID)["jobs"])
    shown["jobId"] = job["jobId"]
    details = workers.get_third_party_job_details(**shown)["jobDetails"]
    assert details["data"]["continuationToken"] == "more"
    workers.acknowledge_third_party_job(**shown, nonce=details["nonce"])
    workers.put_third_party_job_success_result(**shown, executionDetails={"externalExecutionId": "p-1"})
    assert latest(customer, "probed")["status"] == "Succeeded"
    state = customer.get_pipeline_state(name="probed")["stageStates"][1]["actionStates"][0]
    assert state["entityUrl"] == "https://prober.test/shop"
    failure = {"type": "JobFailed", "message": "late"}
    late = {**shown, "failureDetails": failure}
    assert refusal(lambda: workers.put_third_party_job_failure_result(**late)) == "InvalidJobStateException"


def test_who_may_use_a_type_and_do_its_jobs(live, accounts, role):
    for account in (CUSTOMER, PARTNER):
        got = accounts[account]["codepipeline"].get_action_type(**ID)["actionType"]
        assert got == TYPE
    listed = accounts[CUSTOMER]["codepipeline"].list_action_types(actionOwnerFilter="ThirdParty")["actionTypes"]
    (mine,) = [one for one in listed if one["id"] == ID]
    assert mine["settings"]["thirdPartyConfigurationUrl"] == "https://prober.test/"
    assert [(one["name"], one["required"], one["secret"]) for one in mine["actionConfigurationProperties"]] == [
        ("Site", True, False), ("Key", True, True), ("Depth", False, False)
    ]  # fmt: skip
    stranger = accounts[STRANGER]
    assert ID not in [one["id"] for one in stranger["codepipeline"].list_action_types()["actionTypes"]]
    unknown = "11111111-2222-4333-8444-555555555555"
    for call, code in (
        (lambda: stranger["codepipeline"].get_action_type(**ID), "ActionTypeNotFoundException"),
        (lambda: stranger["codepipeline"].update_action_type(actionType=TYPE), "ActionTypeNotFoundException"),
        (lambda: stranger["codepipeline"].poll_for_third_party_jobs(actionTypeId=ID), "ActionTypeNotFoundException"),
        (lambda: accounts[CUSTOMER]["codepipeline"].poll_for_third_party_jobs(actionTypeId=ID), "ActionTypeNotFoundException"),
        (lambda: accounts[WORKERS]["codepipeline"].poll_for_third_party_jobs(actionTypeId={**ID, "owner": "Custom"}), "ValidationException"),
        (lambda: stranger["penstock"].create_action_type_client(**ID), "ActionTypeNotFoundException"),
        (lambda: stranger["penstock"].register_action_type(actionType=TYPE), "ValidationException"),
        (lambda: accounts[PARTNER]["penstock"].register_action_type(actionType=TYPE), "ValidationException"),
        (lambda: accounts[PARTNER]["penstock"].register_action_type(actionType={**TYPE, "id": {**ID, "owner": "AWS"}}), "ValidationException"),
        (lambda: stranger["codepipeline"].get_third_party_job_details(jobId=unknown, clientToken="x"), "JobNotFoundException"),
        (lambda: stranger["codepipeline"].acknowledge_third_party_job(jobId="any", clientToken="x", nonce="3"), "JobNotFoundException"),
    ):  # fmt: skip
        assert refusal(call) == code


def test_a_strangers_worker_learns_nothing_of_a_job(live, accounts, role):
    token = accounts[CUSTOMER]["penstock"].create_action_type_client(**ID)["clientToken"]
    accounts[CUSTOMER]["codepipeline"].create_pipeline(pipeline=declared("apart", role))
    (job,) = until(lambda: accounts[WORKERS]["codepipeline"].poll_for_third_party_jobs(actionTypeId=ID)["jobs"])
    shown = {"jobId": job["jobId"], "clientToken": token}
    for account in (STRANGER, CUSTOMER, PARTNER):
        client = accounts[account]["codepipeline"]
        assert refusal(lambda client=client: client.get_third_party_job_details(**shown)) == "JobNotFoundException"
        assert refusal(lambda client=client: client.get_job_details(jobId=job["jobId"])) == "JobNotFoundException"
    customer = accounts[CUSTOMER]["codepipeline"]
    assert latest(customer, "apart")["status"] == "InProgress"

    def bring_forward(conn):
        conn.execute(jobs.update().where(jobs.c.kind == offers.TIMEOUT_JOB).values(due=1))

    live.run(live.app.store.write(bring_forward))  # a minute later
    over = until(lambda: (now := latest(customer, "apart"))["status"] == "Failed" and now)
    assert "within the time that its type gives one" in over["errorDetails"]["message"]
    workers = accounts[WORKERS]["codepipeline"]
    assert refusal(lambda: workers.put_third_party_job_success_result(**shown)) == "InvalidJobStateException"


REFUSED = [
    ({"executor": {**TYPE["executor"], "type": "Lambda"}}, "RequestFailedException", "Penstock runs no functions"),
    ({"executor": {"type": "JobWorker", "configuration": {}}}, "ValidationException", "has a jobWorkerExecutorConfiguration"),
    ({"inputArtifactDetails": {"minimumCount": 2, "maximumCount": 1}}, "ValidationException", "has to be greater than or equal"),
    ({"properties": [prop("Site"), prop("Key", echo=False), prop("New")]}, "ValidationException", "'New' cannot become required"),
    ({"properties": [prop("Site"), prop("Key"), prop("Depth", optional=True)]}, "ValidationException", "noEcho of the property 'Key' cannot"),
    ({"properties": [prop("Site", queryable=True), prop("Key", echo=False, queryable=True)]}, "ValidationException", "Multiple queryable"),
    ({"urls": {"entityUrlTemplate": "https://x.test/{Config:Key}"}}, "ValidationException", "cannot be filled"),
]  # fmt: skip


def test_what_a_type_may_become(live, accounts, role):
    partner = accounts[PARTNER]["codepipeline"]
    for changed, code, message in REFUSED:
        with pytest.raises(ClientError) as refused:
            partner.update_action_type(actionType={**TYPE, **changed})
        assert refused.value.response["Error"]["Code"] == code, changed
        assert message in str(refused.value)
    assert partner.get_action_type(**ID)["actionType"] == TYPE
    other = {**TYPE, "id": {**ID, "version": "2"}}
    accounts[PARTNER]["penstock"].register_action_type(actionType=other)
    changed = {
        **other,
        "urls": {},
        "permissions": {"allowedAccounts": ["*"]},
        "properties": [prop("Site", optional=True), TYPE["properties"][1]],
    }
    partner.update_action_type(actionType=changed)
    stranger = accounts[STRANGER]["codepipeline"]
    assert stranger.get_action_type(**other["id"])["actionType"] == changed
    for _ in range(2):
        accounts[PARTNER]["penstock"].deregister_action_type(**other["id"])
    assert refusal(lambda: stranger.get_action_type(**other["id"])) == "ActionTypeNotFoundException"
    taken = accounts[STRANGER]["penstock"]
    assert (
        refusal(lambda: taken.register_action_type(actionType=changed)) == "ValidationException"
    )  # nobody takes the name over
    accounts[PARTNER]["penstock"].register_action_type(actionType=changed)
