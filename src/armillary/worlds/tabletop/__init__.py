"""Tabletop: a pusher and one to three objects on a table, in MuJoCo."""
