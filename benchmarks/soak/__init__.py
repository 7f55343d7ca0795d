"""Trials of four to five minutes: many users, hostile uploads, attacks, kill -9, a full disk: `make soak`.

Each check gives the facts that it saw, or raises SoakError.
"""
