"""Pipelines: declarations, the engine that runs them, what triggers them and the actions they take (CodePipeline)."""
