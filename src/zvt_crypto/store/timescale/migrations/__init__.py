"""The schema of the server store, revision by revision. Each is frozen once it is released."""
