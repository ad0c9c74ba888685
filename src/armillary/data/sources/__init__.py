"""Sources: what people have, turned into episodes."""
