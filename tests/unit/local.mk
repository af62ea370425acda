# Unit tests: one program per device or bus, linked with the room's pieces directly. NAME_test is made from
# NAME_test.cpp; say only what differs.
UNIT_TESTS = \
	tests/unit/acpi_pm_test \
	tests/unit/block_test \
	tests/unit/bus_test \
	tests/unit/chardev_test \
	tests/unit/clock_test \
	tests/unit/config_test \
	tests/unit/cpu_model_test \
	tests/unit/cpuid_test \
	tests/unit/debugport_test \
	tests/unit/fw_cfg_test \
	tests/unit/fw_tables_test \
	tests/unit/guest_tsc_test \
	tests/unit/hpet_test \
	tests/unit/ide_test \
	tests/unit/ioapic_test \
	tests/unit/kvm_test \
	tests/unit/lapic_test \
	tests/unit/loader_test \
	tests/unit/linear_test \
	tests/unit/msr_test \
	tests/unit/net_test \
	tests/unit/pci_test \
	tests/unit/perf_test \
	tests/unit/pic_test \
	tests/unit/pit_test \
	tests/unit/pvclock_test \
	tests/unit/reset_test \
	tests/unit/rtc_test \
	tests/unit/simtime_test \
	tests/unit/stats_test \
	tests/unit/steal_test \
	tests/unit/tables_test \
	tests/unit/timer_test \
	tests/unit/uart_test \
	tests/unit/view_test
check_PROGRAMS += $(UNIT_TESTS)
TESTS += $(UNIT_TESTS)

tests_unit_fw_tables_test_SOURCES = tests/unit/tables_fixture.h tests/unit/fw_tables_test.cpp
tests_unit_cpuid_test_SOURCES = tests/unit/cpuid_fixture.h tests/unit/cpuid_test.cpp
tests_unit_cpu_model_test_SOURCES = tests/unit/cpuid_fixture.h tests/unit/cpu_model_test.cpp
tests_unit_loader_test_SOURCES = tests/unit/loader_fixture.h tests/unit/loader_test.cpp tests/unit/loader_linux_test.cpp \
	tests/unit/loader_multiboot_test.cpp
tests_unit_pci_test_SOURCES = tests/unit/pci_fixture.h tests/unit/pci_test.cpp tests/unit/pci_bar_test.cpp \
	tests/unit/pci_msi_test.cpp tests/unit/pci_hostile_test.cpp
tests_unit_tables_test_SOURCES = tests/unit/tables_fixture.h tests/unit/tables_test.cpp tests/unit/aml_test.cpp \
	tests/unit/tables_acpi_test.cpp tests/unit/tables_mptable_test.cpp tests/unit/tables_smbios_test.cpp
tests_unit_block_test_SOURCES = tests/unit/backend_fixture.h tests/unit/block_fixture.h tests/unit/nbd_server.h \
	tests/unit/block_test.cpp tests/unit/block_nbd_test.cpp
tests_unit_net_test_SOURCES = tests/unit/backend_fixture.h tests/unit/net_fixture.h tests/unit/net_test.cpp tests/unit/net_user_test.cpp
