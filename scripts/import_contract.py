"""The contract of import-linter on components, which reads from the program which packages are components."""

from __future__ import annotations

from typing import Any

from importlinter.contracts.layers import LayersContract

from penstock.app import COMPONENTS


class ComponentsContract(LayersContract):
    """Layers, of which the one named `COMPONENTS` is every component of the product, side by side."""

    type_name = "components"

    def __init__(self, name: str, session_options: dict[str, Any], contract_options: dict[str, Any]) -> None:
        layers = [" | ".join(COMPONENTS) if layer == "COMPONENTS" else layer for layer in contract_options["layers"]]
        super().__init__(name, session_options, {**contract_options, "layers": layers})
