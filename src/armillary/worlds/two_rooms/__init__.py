"""Two rooms: an agent, seen from above, and a wall with a door."""
