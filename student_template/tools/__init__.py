"""What the course hands out beside the notebooks."""
