/*
 * What a guest finds of the tables that firmware would have left (platforms/tables.h), by the scans the specifications
 * ask for and by nothing else. Then it spoils them and resets the machine: the second start must find the same.
 */
#include "check.h"

#define SPOILT 0x6f /* NVRAM cell that says so */

static uint16_t get16(uint64_t at) { return mmio_read16(at); }
static uint32_t get32(uint64_t at) { return mmio_read32(at); }

static uint8_t sum(uint64_t at, uint32_t len)
{
	uint8_t s = 0;

	while (len--)
		s = (uint8_t)(s + mmio_read8(at++));
	return s;
}

static bool is(uint64_t at, const char *text)
{
	for (; *text; text++, at++)
		if (mmio_read8(at) != (uint8_t)*text)
			return false;
	return true;
}

/* At multiples of 16 in [at, end); 0: nowhere. */
static uint64_t scan(const char *anchor, uint64_t at, uint64_t end)
{
	for (; at < end; at += 16)
		if (is(at, anchor))
			return at;
	return 0;
}

static uint64_t ebda(void)
{
	return (uint64_t)get16(0x40e) << 4;
}

/* I/O APIC, Intel 82093AA: index register, data window. */
static uint32_t ioapic(uint64_t at, uint32_t reg)
{
	mmio_write32(at, reg);
	return get32(at + 0x10);
}

/* ---- ACPI 6.3, section 5.2 ---- */

static uint64_t table(uint64_t at, const char *signature)
{
	CHECK(20, is(at, signature));
	CHECK(21, get32(at + 4) >= 36 && get32(at + 4) < 0x10000);
	CHECK(22, sum(at, get32(at + 4)) == 0);
	return at;
}

static void madt(uint64_t at)
{
	uint64_t entry = at + 44, end = at + get32(at + 4);
	unsigned cpus = 0, ioapics = 0, overrides = 0;

	for (; entry < end; entry += mmio_read8(entry + 1)) {
		CHECK(30, mmio_read8(entry + 1) >= 6);
		cpus += mmio_read8(entry) == 0 && (get32(entry + 4) & 1);
		if (mmio_read8(entry) == 1) {
			ioapics++;
			CHECK(31, get32(entry + 4) == 0xfec00000 && get32(entry + 8) == 0);
			CHECK(33, ioapic(get32(entry + 4), 0) >> 24 == mmio_read8(entry + 2));
		}
		overrides += mmio_read8(entry) == 2;
	}
	CHECK(32, entry == end && get32(at + 36) == GUEST_LAPIC);
	printf("MADT: %u CPU, %u I/O APIC, %u overrides\n", cpus, ioapics, overrides);
}

static uint16_t reset_port;
static uint8_t reset_value;

static void fadt(uint64_t at)
{
	uint64_t facs = get32(at + 36);
	uint32_t before;

	table(get32(at + 40), "DSDT");
	CHECK(40, is(facs, "FACS") && get32(facs + 4) == 64 && facs % 64 == 0);
	CHECK(43, get32(at + 112) & 1u << 10 && mmio_read8(at + 116) == 1); /* a reset register, a port */
	reset_port = (uint16_t)get32(at + 120);
	reset_value = mmio_read8(at + 128);
	CHECK(41, inw((uint16_t)get32(at + 64)) & 1); /* SCI_EN */
	before = inl((uint16_t)get32(at + 76));
	spin_ns(1000);
	CHECK(42, inl((uint16_t)get32(at + 76)) != before);
	printf("FADT: PM1a %x and %x, timer %x, SCI %u, reset %x=%x\n", get32(at + 56), get32(at + 64), get32(at + 76),
	       get16(at + 46), reset_port, reset_value);
}

static void acpi(void)
{
	uint64_t rsdp = scan("RSD PTR ", ebda(), ebda() + 1024), rsdt, xsdt;
	unsigned i, n;

	if (!rsdp)
		rsdp = scan("RSD PTR ", 0xe0000, 0x100000);
	CHECK(10, rsdp);
	CHECK(11, sum(rsdp, 20) == 0 && sum(rsdp, 36) == 0 && mmio_read8(rsdp + 15) == 2);
	rsdt = table(get32(rsdp + 16), "RSDT");
	xsdt = table(mmio_read64(rsdp + 24), "XSDT");
	n = (get32(xsdt + 4) - 36) / 8;
	CHECK(12, (get32(rsdt + 4) - 36) / 4 == n);
	printf("ACPI: RSDP at %lx, %u tables\n", rsdp, n);
	for (i = 0; i < n; i++) {
		uint64_t at = mmio_read64(xsdt + 36 + 8 * i);

		CHECK(13, at == get32(rsdt + 36 + 4 * i));
		table(at, "");
		if (is(at, "FACP"))
			fadt(at);
		else if (is(at, "APIC"))
			madt(at);
		else if (is(at, "HPET")) {
			CHECK(14, get32(get32(at + 44)) == get32(at + 36)); /* its capabilities */
			printf("HPET: at %x\n", get32(at + 44));
		} else if (is(at, "MCFG")) {
			uint64_t ecam = mmio_read64(at + 44);

			CHECK(15, get32(at + 4) == 60 && get32(at + 52) == 0); /* segment 0, bus 0 only */
			CHECK(16, mmio_read32(ecam) == pci_read32(0, 0) && mmio_read16(ecam + PCI_DEVICE) == pci_read16(0, PCI_DEVICE));
			CHECK(17, mmio_read32(ecam + 0x100) == 0xffffffff && mmio_read32(ecam + 0xff000) == 0xffffffff);
			printf("MCFG: at %lx\n", ecam);
		}
	}
}

/* ---- the others ---- */

static void smbios(void)
{
	uint64_t ep = scan("_SM3_", 0xf0000, 0x100000), at, end;
	unsigned n = 0;

	CHECK(50, ep && sum(ep, mmio_read8(ep + 6)) == 0);
	at = mmio_read64(ep + 16);
	end = at + get32(ep + 12);
	for (; at < end; n++) {
		CHECK(51, mmio_read8(at + 1) >= 4);
		at += mmio_read8(at + 1);
		while (get16(at))
			at++;
		at += 2;
	}
	CHECK(52, at == end);
	printf("SMBIOS: %u.%u, %u structures\n", mmio_read8(ep + 7), mmio_read8(ep + 8), n);
}

/* The first entry of a type in the configuration table (MultiProcessor Specification 1.4, section 4.3). */
static uint64_t mp_entry(uint64_t table, uint8_t type)
{
	uint64_t at = table + 44;

	while (at < table + get16(table + 4) && mmio_read8(at) != type)
		at += mmio_read8(at) == 0 ? 20 : 8;
	return at;
}

static void mp(void)
{
	uint64_t pointer = scan("_MP_", ebda(), ebda() + 1024), at;

	CHECK(60, pointer && sum(pointer, 16) == 0);
	at = get32(pointer + 4);
	CHECK(61, is(at, "PCMP") && sum(at, get16(at + 4)) == 0);
	CHECK(62, mmio_read8(mp_entry(at, 0) + 2) == (lapic_read(0x30) & 0xff));
	CHECK(63, mmio_read8(mp_entry(at, 2) + 2) == (ioapic(0xfec00000, 1) & 0xff));
	printf("MP: 1.%u, %u entries\n", mmio_read8(pointer + 9), get16(at + 34));
}

static void spoil(void)
{
	uint64_t at;

	for (at = 0xe0000; at < 0x100000; at += 8)
		mmio_write64(at, 0x2052545020445352 + at); /* a bit like "RSD PTR " */
	for (at = 0x400; at < 0x500; at += 8)
		mmio_write64(at, UINT64_MAX);
	for (at = 0x9fc00; at < 0xa0000; at += 8)
		mmio_write64(at, UINT64_MAX);
}

int main(void)
{
	bool again = cmos_read(SPOILT) == 0xc5;

	CHECK(1, get16(0x400) == 0x3f8 && get16(0x413) * 1024u == ebda());
	acpi();
	smbios();
	mp();
	cmos_write(SPOILT, again ? 0 : 0xc5);
	if (again)
		return 0;
	spoil();
	puts("once more");
	outb(reset_port, reset_value);
	spin_ns(1 * MS);
	return 2;
}
