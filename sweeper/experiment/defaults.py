"""Default values of experiments and of trainings."""

TARGET = "sweeper.vision.train:train"
PREDICTOR = "sweeper.vision.predict:predict"
CONFIG = "conf/train.yaml"
METRIC = "val/acc_top1"
SEED = 42
