"""The Penstock host agent: takes deployments from the command service and carries them out on this machine."""

__version__ = "0.1.0"
