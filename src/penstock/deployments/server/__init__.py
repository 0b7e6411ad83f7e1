"""In-place deployments to servers: pure decisions only, no I/O, clock, randomness or database."""
