"""Penstock: self-hosted continuous delivery that speaks AWS's delivery APIs."""

from pathlib import Path

__version__ = "0.1.0"

MODELS = Path(__file__).parent / "fleet" / "models"
"""The model of our own service, as botocore's loader and AWS_DATA_PATH want it: SERVICE/VERSION/service-2.json."""
