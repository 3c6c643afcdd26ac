"""Latest values beside the store: one protocol, engines in this process and in Redis."""
