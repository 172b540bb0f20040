"""The same as `chest-xray protocols`."""

from chest_xray_ops.cli import run_script

if __name__ == "__main__":
    run_script("protocols")
