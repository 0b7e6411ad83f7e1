"""Providers of rules. Every module here that has a `PROVIDER` is one; rules run as actions do, by the contract of `actions/provider.py`."""
