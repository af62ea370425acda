# Guest programs: freestanding x86-64 ELF files for the box, built on the kit in examples/guest.
#
# To add one: write DIR/NAME.c with a main() that includes "kvmbox_guest.h", then in DIR's local.mk
#	GUEST_ELFS += DIR/NAME.elf
#	EXTRA_DIST += DIR/NAME.c
# Objects: NAME.guest.o (runs at CPL3, GUEST_CFLAGS) and NAME.kernel.o (runs at CPL0, GUEST_KERNEL_CFLAGS), each from
# NAME.c or NAME.S. A program of several files names the others: "DIR/NAME.elf: DIR/more.guest.o DIR/irq.kernel.o".
# Headers of its own: "DIR/NAME.guest.o: DIR/its.h". Programs only tests need go to check_DATA and GUEST_CLEAN instead.
#
# None of the user's CFLAGS, LDFLAGS or the sanitizers apply: a guest has no run-time library.
GUEST_DIR = examples/guest
GUEST_INCLUDES = $(GUEST_DIR)/kvmbox_guest.h
GUEST_LDSCRIPT = $(srcdir)/$(GUEST_DIR)/guest.ld
GUEST_KIT = $(GUEST_DIR)/crt0.guest.o $(GUEST_DIR)/guest.kernel.o
GUEST_ELFS =
GUEST_CLEAN = $(GUEST_ELFS:.elf=.guest.o) $(GUEST_KIT)

GUEST_CPPFLAGS = -I$(srcdir)/$(GUEST_DIR)
GUEST_COMMON_CFLAGS = -std=gnu17 -m64 -march=x86-64 -g -ffreestanding -fno-pic -fno-stack-protector \
	-fno-asynchronous-unwind-tables -mno-red-zone -fcf-protection=none $(KB_WARN) -Wconversion
GUEST_CFLAGS = $(GUEST_COMMON_CFLAGS) -O2
# For CPL0, where kvm_pvm emulates integer instructions only (and vmx and svm may meet live user registers).
GUEST_KERNEL_CFLAGS = $(GUEST_COMMON_CFLAGS) -O1 -mgeneral-regs-only -mno-popcnt -mno-lzcnt -mno-bmi -mno-bmi2 -mno-movbe
GUEST_LINKFLAGS = -m elf_x86_64 -static -nostdlib --build-id=none -z noexecstack -z max-page-size=4096 -T $(GUEST_LDSCRIPT)

GUEST_V_CC = $(guest_v_cc_@AM_V@)
guest_v_cc_ = $(guest_v_cc_@AM_DEFAULT_V@)
guest_v_cc_0 = @echo "  GUESTCC " $@;
guest_v_cc_1 =
GUEST_V_LD = $(guest_v_ld_@AM_V@)
guest_v_ld_ = $(guest_v_ld_@AM_DEFAULT_V@)
guest_v_ld_0 = @echo "  GUESTLD " $@;
guest_v_ld_1 =

%.guest.o: %.c $(GUEST_INCLUDES)
	@$(MKDIR_P) $(@D)
	$(GUEST_V_CC)$(GUEST_CC) $(GUEST_CPPFLAGS) $(GUEST_CFLAGS) -c -o $@ $<

%.kernel.o: %.c $(GUEST_INCLUDES)
	@$(MKDIR_P) $(@D)
	$(GUEST_V_CC)$(GUEST_CC) $(GUEST_CPPFLAGS) $(GUEST_KERNEL_CFLAGS) -c -o $@ $<

%.guest.o: %.S $(GUEST_INCLUDES)
	@$(MKDIR_P) $(@D)
	$(GUEST_V_CC)$(GUEST_CC) $(GUEST_CPPFLAGS) -m64 -c -o $@ $<

%.elf: %.guest.o $(GUEST_KIT) $(GUEST_DIR)/guest.ld
	$(GUEST_V_LD)$(GUEST_LD) $(GUEST_LINKFLAGS) -o $@ $(filter %.o,$^)

.SECONDARY: $(GUEST_CLEAN)
noinst_DATA += $(GUEST_ELFS)
CLEANFILES += $(GUEST_ELFS) $(GUEST_CLEAN)
EXTRA_DIST += $(GUEST_INCLUDES) $(GUEST_DIR)/guest.c $(GUEST_DIR)/crt0.S $(GUEST_DIR)/guest.ld

GUEST_ELFS += examples/uart_hello/hello.elf examples/dma_accel/driver.elf
EXTRA_DIST += examples/uart_hello/hello.c
EXTRA_DIST += examples/dma_accel/driver.c examples/dma_accel/accel_regs.h
examples/dma_accel/driver.guest.o: examples/dma_accel/accel_regs.h
