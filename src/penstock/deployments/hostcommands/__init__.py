"""The service that hosts' agents speak with: `codedeploy-commands`, and `codedeploy-commands-secure`, the same by another name."""
