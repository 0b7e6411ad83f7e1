"""Whole deployments: a real agent process against a command service, from the poll to the last completion."""

import json
import sys

import pytest
from agent_harness import PYENV, appspec, script, tgz, zipped
from command_service_stub import IN_PLACE, SECRET_KEY

HOOKS = {"BeforeInstall": ["before.sh"], "AfterInstall": ["after.sh"], "ValidateService": ["check.sh"]}


def bundle(make=tgz, text="one", hooks=None, **scripts):
    files = {
        "appspec.yml": appspec(hooks=HOOKS if hooks is None else hooks),
        "app/index.html": text,
        "app/lib/code.py": "code " + text,
        "before.sh": script("echo before"),
        "after.sh": script("echo after"),
        "check.sh": script('test -f "$PENSTOCK_INSTALL_ROOT/srv/app/index.html"'),
    }
    files.update({name.replace("_", "."): value for name, value in scripts.items()})
    return make(files)


PYTHONS = [sys.executable, *(str(PYENV / version / "bin" / "python") for version in ("3.8.18", "3.9.18", "3.10.13", "3.12.1", "3.13.0"))]


@pytest.mark.parametrize("python", PYTHONS, ids=lambda path: path.split("versions/")[-1].split("/")[0])
def test_a_deployment_runs_every_event_and_installs(machine, service, python):
    import os

    if not os.path.exists(python):
        pytest.skip("no %s on this machine" % python)
    machine.agent(python)
    service.deploy("d-1", bundle())
    results = service.finish("d-1")
    assert {event: status for event, (status, _) in results.items()} == dict.fromkeys(IN_PLACE, "Succeeded"), results
    assert machine.installed() == {"/srv/app/index.html": "one", "/srv/app/lib/code.py": "code one"}
    assert results["BeforeInstall"][1] == {
        "error_code": 0,
        "script_name": "",
        "message": "Succeeded",
        "log": "LifecycleEvent - BeforeInstall\nScript - before.sh\n[stdout]before\n",
    }
    noops = {identifier: noop for identifier, noop in service.acknowledgements}
    assert [noops["d-1/%d" % number] for number in range(7)] == [True, False, False, False, False, True, False]
    assert [operation for operation, _ in service.requests].count("GetDeploymentSpecification") == 1
