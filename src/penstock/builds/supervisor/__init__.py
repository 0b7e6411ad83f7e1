"""The small process under which a build runs. Its modules import the standard library, `penstock.sandbox` and each other only.

`penstock.sandbox.launcher` starts it, so that nothing of the server is loaded: no database, no master key, and a start in some 20 ms.
"""
