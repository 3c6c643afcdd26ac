"""The schema of the server store, revision by revision. Each is frozen once it is released.

What a revision wants to know of its server it asks through `server`, so that it can be written down
for somebody else to run.
"""
