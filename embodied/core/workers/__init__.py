"""Environments in processes of their own, and those who watch over them."""
