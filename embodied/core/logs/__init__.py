"""Where metrics go: files, the terminal, the scope viewer, and trackers."""
