"""The journal and what it decides: which trial, when, and the sweep's end."""
