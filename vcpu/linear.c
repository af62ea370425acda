/* Guest memory by linear address: see linear.h. */
#include "vcpu/linear.h"

#include <string.h>

#include "vcpu/x86.h"

#define PRESENT 1u
#define WRITABLE 2u
#define USER 4u
#define ACCESSED 0x20u
#define DIRTY 0x40u
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

bool kb_linear_canonical(const struct kb_vcpu *v, uint64_t linear)
{
	return canonical(linear, sregs(v)->cr4 & X86_CR4_LA57 ? 57 : 48);
}

uint8_t *kb_linear_host(const struct kb_vcpu *v, uint64_t pa, bool write, uint64_t *left)
{
	struct kb_region *r = kb_bus_find(&v->vm->mem, pa);

	return r && write && r->readonly ? NULL : host(v, pa, left);
}

/* What all levels of a walk allow together. */
struct rights {
	bool write, user;
};

static uint32_t denied(const struct kvm_sregs *s, unsigned access, struct rights r)
{
	if (access & KB_LINEAR_USER && !r.user)
		return PRESENT;
	if (!(access & KB_LINEAR_USER) && r.user && s->cr4 & X86_CR4_SMAP && !(access & KB_LINEAR_AC))
		return PRESENT;
	if (access & KB_LINEAR_WRITE && !r.write && (access & KB_LINEAR_USER || s->cr0 & X86_CR0_WP))
		return PRESENT;
	return 0;
}

/* Sets bits of a table's entry; other CPUs may do so, too. */
static void mark(const struct kb_vcpu *v, uint64_t pa, uint8_t bits)
{
	uint64_t left;
	uint8_t *p = kb_linear_host(v, pa, true, &left);

	if (p && (*p & bits) != bits)
		__atomic_fetch_or(p, bits, __ATOMIC_SEQ_CST);
}

bool kb_linear_access(const struct kb_vcpu *v, uint64_t linear, unsigned access, uint64_t *pa, uint32_t *error)
{
	const struct kvm_sregs *s = sregs(v);
	bool lma = s->efer & X86_EFER_LMA, wide = lma || (s->cr4 & X86_CR4_PAE);
	unsigned size = wide ? 8 : 4, bits = wide ? 9 : 10, shift, i, levels = lma ? s->cr4 & X86_CR4_LA57 ? 5 : 4 : wide ? 3 : 2;
	uint64_t table = wide ? s->cr3 & (lma ? ADDRESS : 0xffffffe0u) : s->cr3 & 0xfffff000u, e, at[5];
	struct rights r = { true, true };

	if (!lma)
		linear &= 0xffffffffu;
	*pa = linear;
	if (!(s->cr0 & X86_CR0_PG))
		return true;
	*error = access & (KB_LINEAR_WRITE | KB_LINEAR_USER);
	for (i = 0, shift = 12 + bits * (levels - 1);; i++, shift -= bits) {
		at[i] = table + (linear >> shift & ((1u << bits) - 1)) * size;
		if (!entry(v, at[i], size, &e))
			return false;
		if (lma || !wide || shift != 30) { /* PAE's top level grants no rights */
			r.write &= !!(e & WRITABLE);
			r.user &= !!(e & USER);
		}
		if (shift == 12 || (e & LARGE && shift < 31 && (wide || s->cr4 & X86_CR4_PSE)))
			break;
		table = e & (wide ? ADDRESS : 0xfffff000u);
	}
	*error |= denied(s, access, r);
	if (*error & PRESENT)
		return false;
	mark(v, at[i], access & KB_LINEAR_WRITE ? ACCESSED | DIRTY : ACCESSED);
	while (i--)
		if (lma || !wide || i)
			mark(v, at[i], ACCESSED);
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
