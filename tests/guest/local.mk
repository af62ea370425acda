# Guests of the KVM tests, built by "make check" in tests/guest of the build folder. Linked with the kit:
TEST_GUESTS = tests/guest/acpi.elf tests/guest/exits.elf tests/guest/timer_pit.elf tests/guest/timer_lapic.elf tests/guest/rtc.elf \
	tests/guest/irq_nest.elf tests/guest/hlt.elf tests/guest/string_io.elf tests/guest/reset_92.elf \
	tests/guest/reset_cf9.elf tests/guest/reset_8042.elf tests/guest/spin.elf tests/guest/hlt_forever.elf \
	tests/guest/hostile.elf tests/guest/script.elf tests/guest/hostile_pci.elf tests/guest/agenda.elf \
	tests/guest/pvclock.elf tests/guest/msr.elf tests/guest/ioapic.elf tests/guest/hpet.elf tests/guest/acpi_pm.elf \
	tests/guest/x2apic.elf tests/guest/smp.elf tests/guest/hostile_smp.elf
# Without it: 64-bit ELF, 32-bit ELF, raw code, firmware images, a boot sector, kernels.
TEST_GUESTS_BARE = tests/guest/triple_fault.elf tests/guest/bad_insn.elf tests/guest/prot32.elf tests/guest/flat.bin \
	tests/guest/reset_vector.rom tests/guest/hostile_rom.rom tests/guest/boot_sector.bin \
	tests/guest/kernel_multiboot1.elf tests/guest/kernel_multiboot2.elf tests/guest/kernel_pvh.elf \
	tests/guest/kernel_bzimage32.bin tests/guest/kernel_bzimage64.bin

# Handlers and main() share a file here, so all of it is compiled for CPL0. (A longer match than %.guest.o: wins.)
tests/guest/%.guest.o: tests/guest/%.c $(GUEST_INCLUDES) tests/guest/check.h tests/guest/reset.h tests/guest/script.h
	@mkdir -p $(@D)
	$(GUEST_COMPILE) $(GUEST_KERNEL_CFLAGS) -c -o $@ $<

tests/guest/agenda.guest.o: tests/guest/agenda.h
tests/guest/pvclock.guest.o: tests/guest/pvclock.h
tests/guest/msr.guest.o: tests/guest/msr.h
tests/guest/ioapic.guest.o tests/guest/hpet.guest.o tests/guest/acpi_pm.guest.o: tests/guest/ioapic.h
tests/guest/hostile_pci.guest.o: tests/guest/hostile_pci.h examples/dma_accel/accel_regs.h
tests/guest/hostile_pci.guest.o: GUEST_CPPFLAGS += -I$(srcdir)/examples/dma_accel

tests/guest/%.32.o: tests/guest/%.S
	@mkdir -p $(@D)
	$(GUEST_COMPILE) -m32 -c -o $@ $<

tests/guest/triple_fault.elf tests/guest/bad_insn.elf: tests/guest/%.elf: tests/guest/%.guest.o tests/guest/bare.ld
	$(GUEST_LINK) -m elf_x86_64 -static -nostdlib --build-id=none -z noexecstack \
		-T $(srcdir)/tests/guest/bare.ld -o $@ $<

tests/guest/prot32.elf: tests/guest/prot32.32.o tests/guest/bare.ld
	$(GUEST_LINK) -m elf_i386 -static -nostdlib --build-id=none -z noexecstack \
		-T $(srcdir)/tests/guest/bare.ld -o $@ $<

tests/guest/flat.bin: tests/guest/flat.guest.o
	$(GUEST_LINK) -m elf_x86_64 -Ttext=0 --oformat binary -o $@ $<

# One kernel for each boot protocol, from the same two sources.
KERNELS = multiboot1 multiboot2 pvh bzimage32 bzimage64
kernel_flags_multiboot1 = -m32 -DMULTIBOOT1
kernel_flags_multiboot2 = -m32 -DMULTIBOOT2
kernel_flags_pvh = -m32 -DPVH
kernel_flags_bzimage32 = -m32 -DBZIMAGE
kernel_flags_bzimage64 = -m64 -DBZIMAGE
KERNEL_LINK = $(GUEST_LINK) -static -nostdlib --build-id=none -z noexecstack --no-warn-rwx-segments \
	-T $(srcdir)/tests/guest/kernel.ld

$(KERNELS:%=tests/guest/kernel_head.%.o): tests/guest/kernel_head.%.o: tests/guest/kernel_head.S
	@mkdir -p $(@D)
	$(GUEST_COMPILE) $(kernel_flags_$*) -c -o $@ $<

$(KERNELS:%=tests/guest/kernel.%.o): tests/guest/kernel.%.o: tests/guest/kernel.c
	@mkdir -p $(@D)
	$(GUEST_COMPILE) $(GUEST_KERNEL_CFLAGS) $(kernel_flags_$*) -c -o $@ $<

tests/guest/kernel_multiboot1.elf tests/guest/kernel_multiboot2.elf tests/guest/kernel_pvh.elf: \
		tests/guest/kernel_%.elf: tests/guest/kernel_head.%.o tests/guest/kernel.%.o tests/guest/kernel.ld
	$(KERNEL_LINK) -m elf_i386 -o $@ tests/guest/kernel_head.$*.o tests/guest/kernel.$*.o

tests/guest/kernel_bzimage32.bin: tests/guest/kernel_head.bzimage32.o tests/guest/kernel.bzimage32.o tests/guest/kernel.ld
	$(KERNEL_LINK) -m elf_i386 --oformat binary -o $@ tests/guest/kernel_head.bzimage32.o tests/guest/kernel.bzimage32.o

tests/guest/kernel_bzimage64.bin: tests/guest/kernel_head.bzimage64.o tests/guest/kernel.bzimage64.o tests/guest/kernel.ld
	$(KERNEL_LINK) -m elf_x86_64 --oformat binary -o $@ tests/guest/kernel_head.bzimage64.o tests/guest/kernel.bzimage64.o

tests/guest/%.rom: tests/guest/%.32.o
	$(GUEST_LINK) -m elf_i386 -Ttext=0 --oformat binary -o $@ $<

tests/guest/boot_sector.bin: tests/guest/boot_sector.32.o
	$(GUEST_LINK) -m elf_i386 -Ttext=0x7c00 --oformat binary -o $@ $<

GUEST_CLEAN += tests/guest/boot_sector.32.o $(TEST_GUESTS:.elf=.guest.o) tests/guest/triple_fault.guest.o tests/guest/bad_insn.guest.o \
	$(KERNELS:%=tests/guest/kernel.%.o) $(KERNELS:%=tests/guest/kernel_head.%.o) \
	tests/guest/prot32.32.o tests/guest/flat.guest.o tests/guest/reset_vector.32.o tests/guest/hostile_rom.32.o
check_DATA += $(TEST_GUESTS) $(TEST_GUESTS_BARE)
CLEANFILES += $(TEST_GUESTS) $(TEST_GUESTS_BARE)
EXTRA_DIST += tests/guest/acpi.c tests/guest/exits.c tests/guest/timer_pit.c tests/guest/timer_lapic.c tests/guest/rtc.c \
	tests/guest/irq_nest.c tests/guest/hlt.c tests/guest/string_io.c tests/guest/reset_92.c \
	tests/guest/reset_cf9.c tests/guest/reset_8042.c tests/guest/spin.S tests/guest/hlt_forever.c \
	tests/guest/hostile.c tests/guest/script.c tests/guest/script.h tests/guest/hostile_pci.c tests/guest/hostile_pci.h \
	tests/guest/agenda.c tests/guest/agenda.h tests/guest/pvclock.c tests/guest/pvclock.h tests/guest/msr.c \
	tests/guest/msr.h tests/guest/ioapic.c tests/guest/ioapic.h tests/guest/hpet.c tests/guest/acpi_pm.c tests/guest/x2apic.c tests/guest/smp.c tests/guest/hostile_smp.c \
	tests/guest/check.h tests/guest/reset.h tests/guest/bare.ld \
	tests/guest/triple_fault.S tests/guest/bad_insn.S tests/guest/prot32.S tests/guest/flat.S \
	tests/guest/reset_vector.S tests/guest/hostile_rom.S tests/guest/boot_sector.S \
	tests/guest/kernel.c tests/guest/kernel_head.S tests/guest/kernel.ld
