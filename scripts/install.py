"""The same as `chest-xray system`, which needs nothing but Python."""

from chest_xray_ops.cli import run_script

if __name__ == "__main__":
    run_script("system")
