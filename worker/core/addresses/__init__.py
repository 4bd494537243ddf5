"""Addresses of the broker and the database, read word by word.

`amqp` and `postgres` read one each into a small value, or raise `ValueError` with everything that
can't be used in it: the settings refuse it with that message, and adapters connect from the value.
No message repeats more of an address than the words of its query.
"""
