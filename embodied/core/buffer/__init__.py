"""What a replay consists of: chunks of steps, their files, and what samples from them."""
