"""Accounts, users, roles, policies and sessions: IAM and STS, and the Identity that the wire layer asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.identity import sts
from penstock.identity.authority import Authority
from penstock.identity.operations import (
    house_accounts,
    login_profiles,
    managed_policies,
    operations,
    ours,
    policies,
    roles,
    sign_in_links,
    users,
)
from penstock.wire.services import Service
from penstock.wire.validation import ErrorProfile

if TYPE_CHECKING:
    from penstock.room import App

__all__ = ["register"]

# Importing them fills the tables.
_DECLARED = (users, login_profiles, roles, policies, managed_policies, house_accounts, sign_in_links)


def register(app: App) -> None:
    """Hand over IAM and STS, and become the house's Identity."""
    profile = ErrorProfile(code="ValidationError", prints_values=False)
    # Markers are sealed and longer than AWS's.
    app.services.add(Service(name="iam", profile=profile, patch={"shapes": {"markerType": {"max": 4096}}}))
    # STS repeats the value that it refuses, IAM never does.
    app.services.add(Service(name="sts", profile=ErrorProfile(code="ValidationError")))
    app.registry.add(operations)
    app.registry.add(ours)
    app.registry.add(sts.operations)
    authority = Authority(app)
    app.identity = authority
    app.on_start(authority.start)
    app.on_stop(authority.stop)
