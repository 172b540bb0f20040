"""Which versions a running server serves, and with how many workers."""
