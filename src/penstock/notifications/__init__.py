"""Notification rules: who is notified of what happens to a pipeline, a project, an application or a repository (AWS CodeStar Notifications)."""
