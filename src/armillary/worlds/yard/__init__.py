"""Yard: a vehicle with a planar LiDAR drives in a walled yard."""
