"""What memory a trial takes, known before it runs."""
