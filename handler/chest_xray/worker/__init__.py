"""A worker process of TorchServe: what surrounds the request path there."""
