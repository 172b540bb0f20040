"""The service without the server: row -> source -> bytes -> grayscale -> tensor -> logits -> body.

One module per arrow, in that order: ``request``, ``fetch`` (within the rules of ``egress``),
``image`` (or ``dicom``, in the ``sandbox``), ``transform``, (the network), ``prediction``,
``response``; ``batch`` walks them for the rows of one batch. Nothing here imports TorchServe.
"""
