"""A seeded fuzzer of everything that the package reads: `python -m tests.fuzz --cases 50000 --seed 1`.

`samples` makes whole files of every kind, `mutations` breaks them, `cases` draws the case of a number, `targets` reads
it as the package does, and `runner` does so in processes of their own and counts how it ended.
"""
