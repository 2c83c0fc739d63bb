"""What an experiment or a training that does not say otherwise means."""

TARGET = "sweeper.vision.train:train"
PREDICTOR = "sweeper.vision.predict:predict"
CONFIG = "conf/train.yaml"
METRIC = "val/acc_top1"
SEED = 42
WANDB_PROJECT = "sweeper"  # where neither the file nor the project names one
