# Rules for guest programs: freestanding x86-64 ELF files on the guest kit. For GNU make; kvmbox's own build uses them,
# and a Makefile outside of it can:
#
#	GUEST_DIR := $(shell pkg-config --variable=guestdir kvmbox)
#	include $(GUEST_DIR)/kvmbox-guest.mk
#	driver.elf: registers.guest.o irq.kernel.o		# if driver.c is not all there is
#	driver.guest.o: registers.h
#
# "make driver.elf" then makes it from driver.c, which has a main() and includes "kvmbox_guest.h". Objects:
# NAME.guest.o runs at CPL3 (GUEST_CFLAGS), NAME.kernel.o at CPL0 (GUEST_KERNEL_CFLAGS), each from NAME.c or NAME.S.
# To set before the include: GUEST_CC (default $(CC)), GUEST_LD (default ld), GUEST_WARN, and GUEST_KIT_PREFIX, where
# the kit's two objects go (default: here). The host's CFLAGS do not apply: a guest has no run-time library.
GUEST_INCLUDES = $(GUEST_DIR)/kvmbox_guest.h
GUEST_LDSCRIPT = $(GUEST_DIR)/guest.ld
GUEST_KIT = $(GUEST_KIT_PREFIX)kvmbox_crt0.o $(GUEST_KIT_PREFIX)kvmbox_guest.o

GUEST_CPPFLAGS = -I$(GUEST_DIR)
GUEST_COMMON_CFLAGS = -std=gnu17 -m64 -march=x86-64 -g -ffreestanding -fno-pic -fno-stack-protector \
	-fno-asynchronous-unwind-tables -mno-red-zone -fcf-protection=none $(GUEST_WARN)
GUEST_CFLAGS = $(GUEST_COMMON_CFLAGS) -O2
# For CPL0, where kvm_pvm emulates integer instructions only (and vmx and svm may meet live user registers).
GUEST_KERNEL_CFLAGS = $(GUEST_COMMON_CFLAGS) -O1 -mgeneral-regs-only -mno-popcnt -mno-lzcnt -mno-bmi -mno-bmi2 -mno-movbe
GUEST_LINKFLAGS = -m elf_x86_64 -static -nostdlib --build-id=none -z noexecstack -z max-page-size=4096 -T $(GUEST_LDSCRIPT)
GUEST_COMPILE = $(GUEST_V_CC)$(or $(GUEST_CC),$(CC)) $(GUEST_CPPFLAGS)
GUEST_LINK = $(GUEST_V_LD)$(or $(GUEST_LD),ld)

%.guest.o: %.c $(GUEST_INCLUDES)
	@mkdir -p $(@D)
	$(GUEST_COMPILE) $(GUEST_CFLAGS) -c -o $@ $<

%.kernel.o: %.c $(GUEST_INCLUDES)
	@mkdir -p $(@D)
	$(GUEST_COMPILE) $(GUEST_KERNEL_CFLAGS) -c -o $@ $<

%.guest.o: %.S $(GUEST_INCLUDES)
	@mkdir -p $(@D)
	$(GUEST_COMPILE) -m64 -c -o $@ $<

%.kernel.o: %.S $(GUEST_INCLUDES)
	@mkdir -p $(@D)
	$(GUEST_COMPILE) -m64 -c -o $@ $<

$(GUEST_KIT_PREFIX)kvmbox_crt0.o: $(GUEST_DIR)/crt0.S
	@mkdir -p $(@D)
	$(GUEST_COMPILE) -m64 -c -o $@ $<

$(GUEST_KIT_PREFIX)kvmbox_guest.o: $(GUEST_DIR)/guest.c $(GUEST_INCLUDES)
	@mkdir -p $(@D)
	$(GUEST_COMPILE) $(GUEST_KERNEL_CFLAGS) -c -o $@ $<

%.elf: %.guest.o $(GUEST_KIT) $(GUEST_LDSCRIPT)
	$(GUEST_LINK) $(GUEST_LINKFLAGS) -o $@ $(filter %.o,$^)
