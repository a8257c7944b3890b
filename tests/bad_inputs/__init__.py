"""Bad inputs, all in one place: each row of the list is made here, and given to the commands that a user types.

`promises.py` is the list. `images.py`, `folders.py`, `tables.py`, `files.py` and `system.py` make what it names, each
with the exact words that are said of it. `python -m tests.bad_inputs` gives all of them to the commands and prints what
came.
"""
