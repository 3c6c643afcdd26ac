"""Commands run inside the test."""

from cli_inside import quiet_logging, zvtc

__all__ = ["quiet_logging", "zvtc"]
