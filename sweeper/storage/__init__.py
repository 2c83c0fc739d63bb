"""The study on disk: records, rows, results, checkpoints kept."""
