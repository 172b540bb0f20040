"""What tests share that is no fixture; imported as a package, from one path only."""
