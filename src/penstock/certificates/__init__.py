"""Certificates in place of keys (IAM Roles Anywhere), and the authority that issues them to hosts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from penstock.certificates import records
from penstock.certificates.operations import (
    anchors,
    authorities,
    hosts,
    lists,
    profiles,
    sessions,
    subjects,
    tags,
    tags_of,
)
from penstock.certificates.settings import CertificateSettings
from penstock.component import Component, Guard, LinkedRole
from penstock.store.retention import Expiring
from penstock.wire.services import Service

if TYPE_CHECKING:
    from penstock.application import App

__all__ = ["SETTINGS", "component"]

SETTINGS = CertificateSettings

SESSIONS = Path(__file__).parent / "service-2.json"
"""The model of CreateSession, which botocore's model of the service leaves out."""


def component(app: App) -> Component[App]:
    """IAM Roles Anywhere, and hosts that join, of our own service."""
    return Component(
        name="certificates",
        state=app,
        services=(Service("rolesanywhere"), Service("rolesanywhere-sessions", SESSIONS)),
        operations=(anchors, profiles, lists, subjects, tags, sessions, authorities, hosts),
        expiring=(Expiring(table=records.subjects, over=subjects.over),),
        guards=(Guard(service="rolesanywhere", keys={"aws:resourcetag/": tags_of}),),
        linked_roles=(
            LinkedRole(
                service="rolesanywhere.amazonaws.com",
                name="AWSServiceRoleForRolesAnywhere",
                policy="AWSRolesAnywhereServicePolicy",
                uses=records.anchors_of,
            ),
        ),
    )
