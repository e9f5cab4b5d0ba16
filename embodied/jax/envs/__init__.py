"""Environments that are pure functions in JAX, which step together; the registry names them."""
