"""The cache in Redis or Valkey: one server, one behind Sentinels, or a cluster."""
