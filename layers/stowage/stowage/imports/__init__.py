"""Imports of records: `items` of one request, `files` of any size. No imports here: file imports are asked for outside
the network, by functions that must not pay for SQL.
"""
