"""Outbox, inbox and retries: the part of a node that runs carriers, held by one process per vault."""
