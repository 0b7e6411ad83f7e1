"""S3's operations; importing the modules declares them in `penstock.objects.table`."""

from penstock.objects.operations import (
    buckets,
    copies,
    deletes,
    digests,
    lists,
    multipart,
    reads,
    settings,
    tags,
    writes,
)

__all__ = ["buckets", "copies", "deletes", "digests", "lists", "multipart", "reads", "settings", "tags", "writes"]
