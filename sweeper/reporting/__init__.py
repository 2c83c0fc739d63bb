"""Views of a sweep: tables, live display, Markdown, data frames, HTML."""
