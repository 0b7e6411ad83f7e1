"""Fixtures of the host agent's tests: its source on the path, a command service to talk to, agents as real processes."""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
for place in (HERE.parents[1] / "agent" / "src", HERE):
    if str(place) not in sys.path:
        sys.path.insert(0, str(place))

from agent_harness import AgentProcess, Machine  # noqa: E402
from command_service_stub import CommandServiceStub  # noqa: E402


@pytest.fixture
def service():
    with CommandServiceStub() as stub:
        yield stub


@pytest.fixture
def machine(tmp_path, service):
    """A host with a configuration, whose agent is started by `machine.agent()` and ended with the test."""
    host = Machine(tmp_path, service)
    yield host
    host.close()


__all__ = ["AgentProcess"]
