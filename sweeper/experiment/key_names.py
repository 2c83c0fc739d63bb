"""Last parts of config keys that projects name alike, the commonest first."""

EPOCHS = ("max_epochs", "num_epochs", "n_epochs", "epochs")
BATCH_SIZES = ("batch_size", "train_batch_size", "per_device_batch_size", "bs")
LEARNING_RATES = ("lr", "learning_rate", "base_lr", "max_lr")
