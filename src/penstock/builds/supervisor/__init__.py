"""The small process under which a build runs. Its modules import the standard library and each other only.

It is started as a folder (`python -I -S …/builds/supervisor BUILD_DIRECTORY`), so that nothing of the server is loaded: no
database, no master key, and a start in some 20 ms.
"""
