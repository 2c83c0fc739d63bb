"""Checks, estimates and the preview of a sweep before it runs."""
