"""Training and evaluation, which no archive holds.

``prepare`` turns public downloads into a data set and ``dataset`` reads one. ``recipes`` says how
each version is trained, with the loops in ``loop`` and ``stepwise``, or as ``taught`` tells
(``views`` of films, a ``teacher`` on a ``lite`` network, ``distillation``), and then ``orienting``,
``calibration``, ``patients`` and ``gating``. ``augmentation``, ``drawn`` and ``elsewhere`` change
and draw films.

``evaluation`` measures a version: ``metrics`` and ``sources`` count, ``faithfulness``, ``lungs``,
``source_probe`` and the ``protocols`` of ``experiments`` ask what it has learnt, and ``report``,
``page`` and ``plots`` write it down.
"""
