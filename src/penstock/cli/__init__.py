"""The command line: argv, environment and terminal are read here and nowhere else."""
