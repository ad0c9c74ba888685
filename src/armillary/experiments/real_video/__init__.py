"""Real video: what a recipe predicts on recordings of others."""
