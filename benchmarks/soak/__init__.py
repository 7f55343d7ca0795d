"""What visim stands, for three to four minutes: many users, hostile uploads, kill -9, a full disk: `make soak`.

Each check gives the facts that it saw, or raises SoakError.
"""
