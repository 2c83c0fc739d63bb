"""Leaderboard and its statistics: intervals, significance, importance."""
