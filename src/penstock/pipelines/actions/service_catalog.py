"""Service Catalog: declared, not run. Adds a version to a product. AWS: action-reference-ServiceCatalog."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.pipelines.actions.not_run import NotRun
from penstock.pipelines.model import HOUR, ActionType, ActionTypeId, Property


def _refuse(action: Mapping[str, Any]) -> str | None:
    configuration = action.get("configuration", {})
    if "ConfigurationFilePath" in configuration:
        return None
    for key in ("TemplateFilePath", "ProductVersionName", "ProductType"):
        if key not in configuration:
            return f"Action configuration for action '{action['name']}' is missing required configuration '{key}'"
    return None


class ServiceCatalog(NotRun):
    """Adds a version to a product."""

    types = (
        ActionType(
            id=ActionTypeId(category="Deploy", owner="AWS", provider="ServiceCatalog"),
            properties=(
                Property(name="ProductId", description="The product", required=True, key=True),
                Property(
                    name="ConfigurationFilePath", description="A file of configuration, in place of the keys below"
                ),
                Property(name="TemplateFilePath", description="The template's file"),
                Property(name="ProductVersionName", description="The name of the new version"),
                Property(name="ProductType", description="The kind of product", values=("CLOUD_FORMATION_TEMPLATE",)),
                Property(name="ProductVersionDescription", description="What the new version brings"),
            ),
            inputs=(1, 1),
            outputs=(0, 0),
            timeout=HOUR,
            refuse=_refuse,
        ),
    )
    why = "Penstock has no Service Catalog. Remove the action, or run it on AWS."


PROVIDER = ServiceCatalog()
