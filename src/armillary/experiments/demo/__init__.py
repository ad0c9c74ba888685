"""Demo: the whole story on one machine, in minutes."""
