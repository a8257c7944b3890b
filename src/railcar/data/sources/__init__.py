"""One file for each form of data: what it looks like, how it is read, what is refused. Nothing is cached here."""
