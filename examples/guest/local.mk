# Guest programs of the tree; kvmbox-guest.mk has the rules. To add one: write DIR/NAME.c, then in DIR's local.mk
#	GUEST_ELFS += DIR/NAME.elf
#	EXTRA_DIST += DIR/NAME.c
#	DIR/NAME.guest.o: DIR/its.h
# Programs only tests need go to check_DATA and GUEST_CLEAN instead.
GUEST_DIR = $(srcdir)/examples/guest
GUEST_KIT_PREFIX = examples/guest/
GUEST_WARN = $(KB_WARN) -Wconversion
GUEST_V_CC = $(guest_v_cc_@AM_V@)
guest_v_cc_ = $(guest_v_cc_@AM_DEFAULT_V@)
guest_v_cc_0 = @echo "  GUESTCC " $@;
guest_v_cc_1 =
GUEST_V_LD = $(guest_v_ld_@AM_V@)
guest_v_ld_ = $(guest_v_ld_@AM_DEFAULT_V@)
guest_v_ld_0 = @echo "  GUESTLD " $@;
guest_v_ld_1 =
include $(srcdir)/examples/guest/kvmbox-guest.mk

GUEST_ELFS =
GUEST_CLEAN = $(GUEST_ELFS:.elf=.guest.o) $(GUEST_KIT)
.SECONDARY: $(GUEST_CLEAN)
noinst_DATA += $(GUEST_ELFS)
CLEANFILES += $(GUEST_ELFS) $(GUEST_CLEAN)

# The kit itself, for guests built outside the tree.
guestkitdir = $(pkgdatadir)/guest
dist_guestkit_DATA = examples/guest/kvmbox_guest.h examples/guest/guest.c examples/guest/crt0.S \
	examples/guest/guest.ld examples/guest/kvmbox-guest.mk

GUEST_ELFS += examples/uart_hello/hello.elf examples/dma_accel/driver.elf
EXTRA_DIST += examples/uart_hello/hello.c examples/dma_accel/driver.c examples/dma_accel/accel_regs.h
examples/dma_accel/driver.guest.o: examples/dma_accel/accel_regs.h
