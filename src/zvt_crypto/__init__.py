"""Crypto market data with proof of completeness."""

__version__ = "0.1.0"
