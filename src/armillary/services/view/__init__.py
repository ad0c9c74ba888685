"""View: one page about a folder: a dataset, a training run, an evaluation or a study."""
