"""The store: database, transactions, schema and migrations, jobs, outbox, journal, sealing, clock and ids."""
