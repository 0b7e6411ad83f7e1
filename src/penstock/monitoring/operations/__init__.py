"""The operations of `logs`."""
