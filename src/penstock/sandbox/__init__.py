"""Isolated processes: what a build's commands (and, later, functions) run in.

A sandbox is made by a supervisor, a small process that imports the standard library and this package only, so that nothing of the server
is loaded beside foreign code: no database, no master key. `specification.py` says what a sandbox is to be, `sandbox.py` runs one,
`runtimes/` has the ways to isolate, one file each, and `registry.py` chooses among them. Nothing here knows what the processes are for.
"""
