"""Penstock: self-hosted continuous delivery that speaks AWS's delivery APIs."""

__version__ = "0.1.0"
