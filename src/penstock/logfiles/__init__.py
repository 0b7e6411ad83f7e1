"""The files of log streams, and the processes that read them. Knows no service; only the standard library and orjson (and RE2 for a pattern that needs it), so that its processes start fast."""
