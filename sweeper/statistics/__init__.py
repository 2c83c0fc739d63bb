"""Which difference is real: intervals, ties, ranks, importance."""
