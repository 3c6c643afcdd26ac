"""The one place where adapters are chosen: settings in, a running platform out."""
