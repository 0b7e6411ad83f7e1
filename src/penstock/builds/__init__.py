"""Builds: projects, buildspecs, the supervisor and its runtimes (AWS CodeBuild)."""
