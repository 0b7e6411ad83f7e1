"""Deployments to fleets: the service that AWS calls CodeDeploy, and its commands to hosts."""
