"""The trial half: everything that runs in the project's interpreter."""
