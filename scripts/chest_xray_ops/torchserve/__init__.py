"""One TorchServe server: where it is, how it starts, and how it is kept up."""
