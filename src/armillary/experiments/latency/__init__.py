"""Latency: success against milliseconds per decision."""
