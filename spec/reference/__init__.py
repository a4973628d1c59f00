"""A reader of the cnnzip format, written from spec/*.md to be read; it imports nothing of cnnzip.

One module a page. A comment cites the clause that its line implements; an error names the clause
that the bytes break.
"""
