"""The ways to isolate processes: each module exports a `RUNTIME`, and is described by its page in docs/reference/runtimes."""
