"""Revisions, oldest first; see `migrations`."""
