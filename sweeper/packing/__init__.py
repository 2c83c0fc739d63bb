"""Shares of a card: memory, throughput and what running out of memory taught."""
