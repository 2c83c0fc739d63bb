"""What the user's experiment file says, with line numbers."""
