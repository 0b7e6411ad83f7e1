"""Logs, and later metrics and alarms (AWS CloudWatch Logs)."""
