"""The verbs of the command ``chest-xray``, one module each; see ``chest_xray_ops.cli``."""
