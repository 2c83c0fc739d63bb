"""Default values of experiments, and the usual names of common config keys."""

TARGET = "sweeper.vision.train:train"
PREDICTOR = "sweeper.vision.predict:predict"
CONFIG = "conf/train.yaml"
METRIC = "val/acc_top1"
SEED = 42

# Last parts of config keys, most common first.
EPOCHS = ("max_epochs", "num_epochs", "n_epochs", "epochs")
BATCH_SIZES = ("batch_size", "train_batch_size", "per_device_batch_size", "bs")
LEARNING_RATES = ("lr", "learning_rate", "base_lr", "max_lr")
