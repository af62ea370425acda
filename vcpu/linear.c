/* Guest memory by linear address: see linear.h. */
#include "vcpu/linear.h"

#include <string.h>

#include "vcpu/x86.h"

#define PRESENT 1u
#define LARGE 0x80u
#define ADDRESS 0x000ffffffffff000ull

static const struct kvm_sregs *sregs(const struct kb_vcpu *v)
{
	return &v->run->s.regs.sregs;
}

/* Host address of guest-physical pa, *left bytes up to the region's end; NULL: not RAM. */
static uint8_t *host(const struct kb_vcpu *v, uint64_t pa, uint64_t *left)
{
	struct kb_region *r = kb_bus_find(&v->vm->mem, pa);

	if (!r || !r->host)
		return NULL;
	*left = r->size - (pa - r->base);
	return r->host + (pa - r->base);
}

static bool entry(const struct kb_vcpu *v, uint64_t pa, unsigned size, uint64_t *e)
{
	uint64_t left;
	uint8_t *p = host(v, pa, &left);

	*e = 0;
	if (!p || left < size)
		return false;
	memcpy(e, p, size);
	return *e & PRESENT;
}

static bool canonical(uint64_t linear, unsigned bits)
{
	return (uint64_t)((int64_t)(linear << (64 - bits)) >> (64 - bits)) == linear;
}

static bool translate(const struct kb_vcpu *v, uint64_t linear, uint64_t *pa)
{
	const struct kvm_sregs *s = sregs(v);
	bool lma = s->efer & X86_EFER_LMA, wide = lma || (s->cr4 & X86_CR4_PAE);
	unsigned size = wide ? 8 : 4, bits = wide ? 9 : 10, shift, levels;
	uint64_t table = wide ? s->cr3 & (lma ? ADDRESS : 0xffffffe0u) : s->cr3 & 0xfffff000u, e;

	if (!(s->cr0 & X86_CR0_PG)) {
		*pa = linear;
		return true;
	}
	levels = lma ? s->cr4 & X86_CR4_LA57 ? 5 : 4 : wide ? 3 : 2;
	if (lma && !canonical(linear, 12 + bits * levels))
		return false;
	if (!lma)
		linear &= 0xffffffffu;
	for (shift = 12 + bits * (levels - 1);; shift -= bits) {
		if (!entry(v, table + (linear >> shift & ((1u << bits) - 1)) * size, size, &e))
			return false;
		if (shift == 12 || (e & LARGE && shift < 31 && (wide || s->cr4 & X86_CR4_PSE)))
			break;
		table = e & (wide ? ADDRESS : 0xfffff000u);
	}
	*pa = (e & (wide ? ADDRESS : 0xfffff000u) & ~((1ull << shift) - 1)) | (linear & ((1ull << shift) - 1));
	return true;
}

/* The next piece of up to len bytes that lies in one page and in RAM. */
static uint8_t *piece(const struct kb_vcpu *v, uint64_t linear, size_t *len)
{
	uint64_t pa, left, page = 0x1000 - (linear & 0xfff);
	uint8_t *p = translate(v, linear, &pa) ? host(v, pa, &left) : NULL;

	if (!p)
		return NULL;
	if (page < left)
		left = page;
	if (left < *len)
		*len = (size_t)left;
	return p;
}

size_t kb_linear_read(const struct kb_vcpu *v, uint64_t linear, void *buf, size_t len)
{
	size_t done, n;

	for (done = 0; done < len; done += n) {
		uint8_t *p = piece(v, linear + done, (n = len - done, &n));

		if (!p)
			break;
		memcpy((uint8_t *)buf + done, p, n);
	}
	return done;
}

bool kb_linear_write(const struct kb_vcpu *v, uint64_t linear, const void *buf, size_t len)
{
	size_t done, n;

	for (done = 0; done < len; done += n) {
		uint8_t *p = piece(v, linear + done, (n = len - done, &n));

		if (!p)
			return false;
		memcpy(p, (const uint8_t *)buf + done, n);
	}
	return true;
}

bool kb_linear_gate(const struct kb_vcpu *v, unsigned vector, uint64_t *handler)
{
	const struct kvm_sregs *s = sregs(v);
	bool lma = s->efer & X86_EFER_LMA, pe = s->cr0 & X86_CR0_PE;
	unsigned size = lma ? 16 : pe ? 8 : 4;
	struct kvm_segment cs;
	uint16_t g[8];

	if ((vector + 1) * size - 1 > s->idt.limit || kb_linear_read(v, s->idt.base + vector * size, g, size) != size)
		return false;
	if (!pe) {
		*handler = ((uint64_t)g[1] << 4) + g[0];
		return true;
	}
	if (!(g[2] & 0x8000)) /* not present */
		return false;
	*handler = (uint64_t)g[3] << 16 | g[0];
	if (lma)
		*handler |= (uint64_t)g[5] << 48 | (uint64_t)g[4] << 32;
	else if (kb_linear_segment(v, g[1], &cs))
		*handler = (*handler + cs.base) & 0xffffffffu;
	return true;
}

bool kb_linear_segment(const struct kb_vcpu *v, uint16_t selector, struct kvm_segment *seg)
{
	const struct kvm_sregs *s = sregs(v);
	uint64_t base = selector & 4 ? s->ldt.base : s->gdt.base, d;
	uint32_t limit = selector & 4 ? s->ldt.limit : s->gdt.limit;

	if (selector < 4 || (selector | 7u) > limit || kb_linear_read(v, base + (selector & ~7u), &d, 8) != 8)
		return false;
	*seg = (struct kvm_segment){
		.selector = selector, .base = (d >> 16 & 0xffffff) | (d >> 56) << 24,
		.limit = (uint32_t)((d & 0xffff) | (d >> 32 & 0xf0000)),
		.type = d >> 40 & 15, .s = d >> 44 & 1, .dpl = d >> 45 & 3, .present = d >> 47 & 1,
		.avl = d >> 52 & 1, .l = d >> 53 & 1, .db = d >> 54 & 1, .g = d >> 55 & 1,
	};
	if (seg->g)
		seg->limit = seg->limit << 12 | 0xfff;
	return seg->present;
}
