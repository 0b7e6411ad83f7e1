"""Buckets and objects: S3's API over encrypted blobs."""
