"""The same as `chest-xray data`."""

from chest_xray_ops.cli import run_script

if __name__ == "__main__":
    run_script("data")
