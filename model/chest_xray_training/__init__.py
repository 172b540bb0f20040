"""Training and evaluation, which no archive holds.

``prepare`` turns public downloads into a data set and ``dataset`` reads one. ``recipes`` says how
each version is trained, with the loops in ``loop`` and ``robust``, the films of ``augmentation``,
and then ``calibration`` and ``gating``. ``evaluation`` measures a version: ``metrics`` counts,
``faithfulness``, ``source_probe`` and ``protocols`` ask what it has learnt, and ``report`` and
``plots`` write it down.
"""
