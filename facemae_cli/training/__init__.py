"""What `fit` and `train-recognizer` do: the trainer, an objective a network, recipes, losses and the run folder."""
