"""The files of log streams, and the processes that read them. Knows no service; only the standard library and orjson, so that its processes start fast."""
