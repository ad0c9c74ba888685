"""Minutes to knowledge: how long a recipe trains until its model knows enough."""
