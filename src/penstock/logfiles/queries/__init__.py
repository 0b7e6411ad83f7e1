"""The query language of CloudWatch Logs Insights: `grammar` reads it, `running` applies it to log files."""
