"""Fixtures that every test may use."""

pytest_plugins = ["penstock_live", "penstock_twice", "penstock_workers"]
