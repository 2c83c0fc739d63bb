"""The study on disk: the journal file, its records, results of trials."""
