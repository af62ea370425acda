# examples/: programs a user would write, and their guests.
include $(srcdir)/examples/guest/local.mk
