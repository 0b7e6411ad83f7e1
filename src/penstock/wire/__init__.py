"""Protocols both ways, signatures, routing, validation and the operation registry. Knows no service."""
