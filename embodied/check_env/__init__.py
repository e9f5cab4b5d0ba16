"""Looks at an environment before an agent does: `python -m embodied.check_env TASK`."""
