"""Services: what a command or a function of the API does with a model, from its name to a page."""
