"""Shares of a card: how many trials fit, what memory errors taught."""
