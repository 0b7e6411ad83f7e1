"""Calls that come at the same moment, on either database: each gets an answer of the service, none a fault."""

import asyncio
from collections import Counter
from functools import partial

from penstock_deployments_harness import ACCOUNT, REGION, revision

from penstock.deployments import records
from penstock.deployments.hostcommands import signer
from penstock.deployments.server.revision import digest
from penstock.wire.errors import ServiceError

AT_ONCE = 8


async def outcomes(*calls):
    """How often each answer came: an error's name, or "" for success. Anything that is no error of the service is raised."""
    answers = await asyncio.gather(*calls, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException) and not isinstance(answer, ServiceError):
            raise answer
    return Counter(type(answer).__name__ if isinstance(answer, ServiceError) else "" for answer in answers)


async def test_a_new_revision_is_used_and_registered_at_once(any_harness):
    harness = any_harness
    await harness.call("CreateApplication", applicationName="shop")
    for number in range(20):
        location = revision(f"{number}.zip")
        key = {"account": ACCOUNT, "region": REGION, "application": "shop", "digest": digest(location)}
        row = {**key, "location": location, "bucket": "bundles", "key": f"{number}.zip", "description": ""}
        found = await outcomes(
            *(harness.app.store.write(partial(records.use_revision, row=row, now=5)) for _ in range(AT_ONCE)),
            harness.call("RegisterApplicationRevision", applicationName="shop", revision=location, description="ours"),
        )
        assert found == {"": AT_ONCE + 1}
        described = await harness.call("GetApplicationRevision", applicationName="shop", revision=location)
        assert described["revisionInfo"]["description"] == "ours"
        assert described["revisionInfo"]["firstUsedTime"] == 5


async def test_the_first_key_of_servers_that_start_together_stays(any_harness):
    kept = [partial(signer._keep, certificate=str(number), sealed=b"k", now=5) for number in range(AT_ONCE)]
    assert await outcomes(*(any_harness.app.store.write(keep) for keep in kept)) == {"": AT_ONCE}
    row = await any_harness.app.store.read(signer._load)
    await any_harness.app.store.write(kept[0])
    await any_harness.app.store.write(kept[1])
    assert await any_harness.app.store.read(signer._load) == row


async def test_one_of_many_gets_the_name_of_an_instance(any_harness):
    harness = any_harness
    for number in range(5):
        found = await outcomes(
            *(
                harness.call(
                    "RegisterOnPremisesInstance",
                    instanceName=f"web-{number}",
                    iamUserArn=f"arn:aws:iam::{ACCOUNT}:user/u{number}-{each}",
                )
                for each in range(AT_ONCE)
            )
        )
        assert found == {"": 1, "InstanceNameAlreadyRegisteredException": AT_ONCE - 1}


async def test_one_of_many_gets_the_new_name(any_harness):
    harness = any_harness
    for each in range(AT_ONCE):
        await harness.call("CreateApplication", applicationName=f"a{each}")
        await harness.call(
            "CreateDeploymentGroup", applicationName="a0", deploymentGroupName=f"g{each}", serviceRoleArn=harness.role
        )
    groups = await outcomes(
        *(
            harness.call(
                "UpdateDeploymentGroup",
                applicationName="a0",
                currentDeploymentGroupName=f"g{each}",
                newDeploymentGroupName="new",
            )
            for each in range(AT_ONCE)
        )
    )
    assert groups == {"": 1, "DeploymentGroupAlreadyExistsException": AT_ONCE - 1}
    applications = await outcomes(
        *(
            harness.call("UpdateApplication", applicationName=f"a{each}", newApplicationName="new")
            for each in range(AT_ONCE)
        )
    )
    assert applications == {"": 1, "ApplicationAlreadyExistsException": AT_ONCE - 1}


async def test_one_of_many_names_gets_an_identity(any_harness):
    harness = any_harness
    for number in range(5):
        user = f"arn:aws:iam::{ACCOUNT}:user/shared-{number}"
        found = await outcomes(
            *(
                harness.call("RegisterOnPremisesInstance", instanceName=f"twin-{number}-{each}", iamUserArn=user)
                for each in range(AT_ONCE)
            )
        )
        assert found == {"": 1, "IamUserArnAlreadyRegisteredException": AT_ONCE - 1}
