"""Readers of tables, one kind of file or of object each: what comes out is a `Table`, or one line.

Whatever the bytes are, a reader returns a `Table` or raises a `DataError` of one line. Nothing is converted:
cells keep the text or the object that they were written as, and rows the names by which their owner knows
them. `datasets.reading` decides which reader gets a table.
"""
