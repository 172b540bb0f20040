"""Training and evaluation; never archived.

``dataset`` reads films, ``loop`` trains, ``metrics`` counts, ``plots`` draws, ``prepare`` turns
raw public downloads into a data set.
"""
