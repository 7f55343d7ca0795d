"""The two objectives, the loop that trains them, and its parts."""
