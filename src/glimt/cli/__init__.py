"""The commands that people type: each parses, calls something below, and prints.

Data goes to stdout, everything else to stderr. A user's mistake ends in one sentence and an exit
code, never in a traceback.
"""
