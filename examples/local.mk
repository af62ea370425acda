# examples/: programs a user would write, and their guests.
