"""How the service gets onto a machine. Nothing here needs more than Python itself."""
