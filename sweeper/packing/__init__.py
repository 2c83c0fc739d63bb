"""Shares of a card, by predicted and observed memory and by throughput."""
