"""nginx in front of a server: TLS, keys and limits."""
