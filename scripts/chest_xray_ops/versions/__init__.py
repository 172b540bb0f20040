"""Changes which versions a running server serves, and with how many workers."""
