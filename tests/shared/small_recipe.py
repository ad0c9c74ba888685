"""Settings that make the recipe train in seconds; what is learned is nothing."""

SMALL = {
    "steps": 2,
    "batch_size": 2,
    "held_out": 0.3,
    "finetune.steps": 2,
    "finetune.batch_size": 2,
    "model.encoder.hidden": 16,
    "model.predictor.memory": 8,
    "model.predictor.hidden": 8,
}
