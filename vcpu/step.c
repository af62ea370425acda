/* Single-stepping: see step.h. */
#include "vcpu/step.h"

#include <errno.h>
#include <string.h>

#include "vcpu/exit.h"
#include "vcpu/linear.h"
#include "vcpu/run.h"
#include "vcpu/step_user.h"
#include "vcpu/x86.h"

#define STEP (KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP)
#define WATCH (KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP)
#define DR6_HIT 0xfu
#define DR7_ON(i) (1u << 2 * (i)) /* L0-L3; R/W and LEN 0: on execution */

/* A step that ends by itself takes microseconds; this one is in a handler that nobody watches. */
#define PATIENCE_HZ 5u

/* Signals in a row at one instruction; more than that somebody sends on purpose. */
#define MAX_SIGNALS 1000

static struct kvm_regs *regs(struct kb_vcpu *v)
{
	return &v->run->s.regs.regs;
}

static struct kvm_sregs *sregs(struct kb_vcpu *v)
{
	return &v->run->s.regs.sregs;
}

static uint64_t linear(struct kb_vcpu *v, uint64_t rip)
{
	return kb_code64(sregs(v)) ? rip : (sregs(v)->cs.base + rip) & 0xffffffffu;
}

/* Does the CPU have to be talked into stepping ring 3? 32-bit code there is emulated like ring 0. */
static bool by_trap(const struct kb_vcpu *v, const struct kvm_sregs *s)
{
	return kb_user(s) && !v->step.can[1] && kb_code64(s);
}

void kb_step_init(struct kb_step *s, const bool can[2], bool ring0_native)
{
	*s = (struct kb_step){ .can = { can[0], can[1] }, .emulated = !ring0_native, .vector = -1 };
}

void kb_step_forget(struct kb_vcpu *v)
{
	struct kb_step *s = &v->step;

	s->vector = -1;
	s->rest = 0;
	s->fault = s->nmi = s->charged = s->tail = s->guest_tf = false;
}

int kb_step_supported(const struct kb_vcpu *v, struct kvmbox_error *err)
{
	if (!v->step.can[0])
		return kb_fail(err, EOPNOTSUPP,
			       "KVM on this host does not single-step guest kernel mode exactly (see kvmbox-info), which clock=step and stops by instruction count need");
	if (!v->sync_regs)
		return kb_fail(err, EOPNOTSUPP, "single-stepping needs KVM_CAP_SYNC_REGS, which this host's KVM lacks");
	return 0;
}

/* ---- telling KVM ------------------------------------------------------------ */

static int call(struct kb_vcpu *v, unsigned long request, void *arg, struct kvmbox_error *err)
{
	int rc = kb_kvm_ioctl(v->vm->api, v->fd, request, arg);

	return rc < 0 ? kb_fail(err, -rc, "single-stepping: %s failed on vCPU %u: %s", kb_kvm_request_name(request), v->id,
				strerror(-rc)) : 0;
}

/* KVM_SET_GUEST_DEBUG looks at RIP and RFLAGS, and must not find old ones. */
int kb_step_flush(struct kb_vcpu *v, struct kvmbox_error *err)
{
	uint64_t dirty = v->run->kvm_dirty_regs;
	int rc = 0;

	v->run->kvm_dirty_regs = 0;
	if (dirty & KVM_SYNC_X86_SREGS)
		rc = call(v, KVM_SET_SREGS, sregs(v), err);
	if (!rc && (dirty & KVM_SYNC_X86_REGS))
		rc = call(v, KVM_SET_REGS, regs(v), err);
	return rc;
}

static int arm(struct kb_vcpu *v, const struct kvm_guest_debug *d, struct kvmbox_error *err)
{
	int rc;

	if (v->step.armed && !memcmp(d, &v->step.debug, sizeof(*d)))
		return 0;
	rc = kb_step_flush(v, err);
	if (!rc)
		rc = call(v, KVM_SET_GUEST_DEBUG, (void *)(uintptr_t)d, err);
	if (rc)
		return rc;
	v->step.debug = *d;
	v->step.armed = true;
	kb_assist_disarmed(&v->assist);
	return 0;
}

/* While there are breakpoints left. */
static void watch(struct kvm_guest_debug *d, uint64_t address)
{
	unsigned i;

	for (i = 0; i < KB_STEP_BREAKPOINTS; i++) {
		if (!(d->arch.debugreg[7] & DR7_ON(i))) {
			d->control |= WATCH;
			d->arch.debugreg[7] |= DR7_ON(i);
			d->arch.debugreg[i] = address;
			return;
		}
		if (d->arch.debugreg[i] == address)
			return;
	}
}

static bool watched(const struct kvm_guest_debug *d, uint64_t address)
{
	unsigned i;

	for (i = 0; i < KB_STEP_BREAKPOINTS; i++)
		if (d->arch.debugreg[7] & DR7_ON(i) && d->arch.debugreg[i] == address)
			return true;
	return false;
}

/* A breakpoint where the guest is would stop it again and again. */
static bool watch_gate(struct kb_vcpu *v, struct kvm_guest_debug *d, unsigned vector)
{
	uint64_t handler;

	if (!kb_linear_gate(v, vector, &handler))
		return false;
	if (handler != linear(v, regs(v)->rip))
		watch(d, handler);
	return true;
}

/* No registers are there before the first exit, and nothing may be half done. */
int kb_step_begin(struct kb_vcpu *v, struct kvmbox_error *err)
{
	int rc = kb_step_supported(v, err);

	if (rc)
		return rc;
	__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_RELAXED);
	rc = v->vm->api->ioctl(v->fd, KVM_RUN, NULL);
	rc = rc < 0 && errno != EINTR && errno != EAGAIN ? errno : 0;
	__atomic_store_n(&v->run->immediate_exit, v->kick.fired != 0, __ATOMIC_RELAXED);
	if (rc)
		return kb_fail(err, rc, "KVM_RUN failed: %s", strerror(rc));
	v->step.guest_tf = regs(v)->rflags & X86_EFLAGS_TF;
	if (!v->stats.entries) /* KVM does not say yet */
		v->run->if_flag = v->run->ready_for_interrupt_injection = !!(regs(v)->rflags & X86_EFLAGS_IF);
	v->step.debug = (struct kvm_guest_debug){ 0 };
	v->step.armed = true;
	if (v->assist.watched) /* KVM has other breakpoints than these */
		v->step.debug.control = UINT32_MAX;
	return 0;
}

/* ---- before an instruction ----------------------------------------------------- */

/* Gates lead out of what is stepped: stop there. Those that are likely first, there are four breakpoints. */
static void watch_gates(struct kb_vcpu *v, struct kvm_guest_debug *d)
{
	const struct kb_step *s = &v->step;

	if (s->nmi)
		watch_gate(v, d, X86_VECTOR_NMI);
	if (s->insn.kind == KB_INSN_INT)
		watch_gate(v, d, s->insn.vector);
	watch_gate(v, d, X86_VECTOR_PF);
	watch_gate(v, d, X86_VECTOR_GP);
	watch_gate(v, d, X86_VECTOR_UD);
}

/* Ring 3 gets its own TF. */
static void restore_tf(struct kb_vcpu *v)
{
	if (!kb_user(sregs(v)) || v->step.fault) /* KVM drops an exception that waits if registers are set */
		return;
	regs(v)->rflags = (regs(v)->rflags & ~(uint64_t)X86_EFLAGS_TF) | (v->step.guest_tf ? X86_EFLAGS_TF : 0);
	v->run->kvm_dirty_regs |= KVM_SYNC_X86_REGS;
}

/* KVM has something to deliver, which comes before any instruction. */
static void prepare_delivery(struct kb_vcpu *v, struct kvm_guest_debug *d)
{
	struct kb_step *s = &v->step;
	uint64_t handler;

	d->control = 0;
	if (s->vector >= 0 && kb_linear_gate(v, (unsigned)s->vector, &handler))
		watch(d, handler);
	watch_gate(v, d, X86_VECTOR_DF);
	watch_gates(v, d);
	restore_tf(v);
}

/* Ring 3: the CPU traps after the instruction. */
static int prepare_trap(struct kb_vcpu *v, struct kvm_guest_debug *d, struct kvmbox_error *err)
{
	uint64_t handler;
	char where[512];

	if (!kb_step_trap_handler(v, &handler)) {
		kb_vcpu_where(v, where, sizeof(where));
		return kb_fail(err, EOPNOTSUPP,
			       "the guest cannot be single-stepped here: KVM on this host steps ring 3 only through the guest's #DB handler, and there is none (IDT entry 1 and the stack in the TSS must lead to memory); %s",
			       where);
	}
	watch(d, handler); /* be it where the guest is: breakpoints do not stop ring 3 here */
	regs(v)->rflags |= X86_EFLAGS_TF;
	v->run->kvm_dirty_regs |= KVM_SYNC_X86_REGS;
	return 0;
}

/* How many iterations of a string instruction may be done at once. */
static void limit_string(struct kb_vcpu *v, uint64_t budget_ps)
{
	struct kb_step *s = &v->step;
	uint64_t mask = kb_step_count_mask(s), rcx = s->regs.rcx & mask, n = rcx;

	if (s->why & KB_STEP_COUNT && s->left < n)
		n = s->left;
	if (v->clock.insn_ps && budget_ps / v->clock.insn_ps < n)
		n = budget_ps / v->clock.insn_ps + (budget_ps % v->clock.insn_ps != 0);
	if (!n || n >= rcx)
		return;
	s->rest = rcx - n;
	s->regs.rcx = regs(v)->rcx = (s->regs.rcx & ~mask) | n;
	v->run->kvm_dirty_regs |= KVM_SYNC_X86_REGS;
}

/* KVM that emulates ring 0 does not stop behind these by itself. */
static void prepare_emulated(struct kb_vcpu *v, struct kvm_guest_debug *d, uint64_t budget_ps)
{
	struct kb_step *s = &v->step;
	uint64_t target;

	switch (s->insn.kind) {
	case KB_INSN_HLT: /* stops by itself; a step would be told instead */
		if (!kb_user(sregs(v)))
			d->control = 0;
		break;
	case KB_INSN_SWAPGS:
		s->stop = linear(v, s->regs.rip + s->insn.length);
		watch(d, s->stop);
		break;
	case KB_INSN_IRET:
		if (kb_step_iret_target(v, &target) && linear(v, target) != linear(v, s->regs.rip)) {
			s->stop = linear(v, target);
			watch(d, s->stop);
		}
		break;
	case KB_INSN_STRING:
		limit_string(v, budget_ps);
		break;
	default:
		break;
	}
}

static void decode(struct kb_vcpu *v)
{
	uint8_t bytes[15];
	size_t n = kb_linear_read(v, linear(v, regs(v)->rip), bytes, sizeof(bytes));

	v->step.insn = kb_insn_decode(bytes, n, kb_code64(sregs(v)));
}

/* Fills *d. */
static int prepare(struct kb_vcpu *v, uint64_t budget_ps, struct kvm_guest_debug *d, struct kvmbox_error *err)
{
	struct kb_step *s = &v->step;
	int rc = 0;

	*d = (struct kvm_guest_debug){ .control = STEP };
	s->stop = 0;
	if (s->vector >= 0 || s->fault) {
		s->insn = (struct kb_insn){ .kind = KB_INSN_OTHER };
		prepare_delivery(v, d);
	} else {
		decode(v);
		s->regs = *regs(v);
		if (by_trap(v, sregs(v)))
			rc = prepare_trap(v, d, err);
		else if (s->emulated)
			prepare_emulated(v, d, budget_ps);
		if (!rc)
			watch_gates(v, d);
	}
	s->regs = *regs(v);
	s->sregs = *sregs(v);
	return rc;
}

/* ---- after an instruction -------------------------------------------------------- */

static void charge(struct kb_vcpu *v, struct kb_stay *stay, uint64_t instructions, bool exit)
{
	stay->instructions = instructions;
	stay->stepped = !exit;
	kb_clock_account(&v->clock, stay);
}

static void retire(struct kb_vcpu *v, struct kb_stay *stay, uint64_t n, bool exit)
{
	struct kb_step *s = &v->step;

	s->left -= n < s->left ? n : s->left;
	v->stats.steps += n;
	charge(v, stay, n - (s->charged && n), exit);
	s->charged = false;
}

/* Puts back what limit_string() took out. */
static void unlimit(struct kb_vcpu *v)
{
	struct kb_step *s = &v->step;
	uint64_t mask = kb_step_count_mask(s);

	if (!s->rest)
		return;
	regs(v)->rcx = (regs(v)->rcx & ~mask) | ((regs(v)->rcx + s->rest) & mask);
	v->run->kvm_dirty_regs |= KVM_SYNC_X86_REGS;
	s->rest = 0;
}

/* Iterations done. KVM's emulator does many at once, and moves RIP on in a step of its own. */
static uint64_t after_string(struct kb_vcpu *v)
{
	struct kb_step *s = &v->step;
	struct kvm_regs *r = regs(v);
	uint64_t mask = kb_step_count_mask(s), before = s->regs.rcx & mask, n = before - (r->rcx & mask);
	bool over = s->insn.scan && n && s->insn.repne == !!(r->rflags & X86_EFLAGS_ZF), tail = s->tail;

	if (n > before) /* another instruction's doing */
		return 1;
	if (s->rest && n == before && !over)
		r->rip = s->regs.rip; /* it may have been taken for done */
	unlimit(v);
	s->tail = r->rip == s->regs.rip && !(r->rcx & mask);
	return n ? n : !tail && r->rip != s->regs.rip;
}

/* KVM has stopped the guest behind an instruction (hit: by a breakpoint), or in the handler of what it raised. */
static uint64_t completed(struct kb_vcpu *v, bool hit)
{
	struct kb_step *s = &v->step;
	uint64_t rip = linear(v, regs(v)->rip);

	if (s->vector >= 0 || s->fault) {
		s->vector = -1;
		s->fault = s->guest_tf = false;
		return 0;
	}
	if (by_trap(v, &s->sregs) && !kb_user(sregs(v)))
		return kb_step_after_trap(v, hit);
	if (hit && rip != s->stop) {
		unlimit(v);
		s->tail = false;
		return kb_step_interrupted(v);
	}
	return s->insn.kind == KB_INSN_STRING ? after_string(v) : 1;
}

static bool breakpoint(struct kb_vcpu *v)
{
	if (v->run->exit_reason == KVM_EXIT_DEBUG)
		return v->run->debug.arch.dr6 & DR6_HIT;
	return watched(&v->step.debug, linear(v, regs(v)->rip));
}

/* An instruction of ring 3 is under way, by its trap. */
static bool stepping_user(struct kb_vcpu *v)
{
	return by_trap(v, &v->step.sregs) && kb_user(sregs(v)) && v->step.vector < 0 && !v->step.fault;
}

/*
 * A signal came in ring 3 while KVM has an exception to deliver, the trap that ends the step or what the instruction raised. On
 * to its handler before anything else: KVM drops it if registers are set, and takes no interrupt as long as it waits. KVM does not
 * tell of a #BP that waits, but RIP is behind the INT3 already.
 */
static int finish_trap(struct kb_vcpu *v, struct kb_stay *stay, int code, struct kvmbox_error *err)
{
	struct kvm_vcpu_events events;
	int i, rc;

	for (i = 0; i < MAX_SIGNALS && code == EINTR && stepping_user(v); i++) {
		rc = call(v, KVM_GET_VCPU_EVENTS, &events, err);
		if (rc)
			return rc;
		if (!events.exception.injected && !events.exception.pending && regs(v)->rip == v->step.regs.rip)
			break;
		kb_kick_clear(&v->kick);
		code = kb_run_stay(v, v->tsc_hz / PATIENCE_HZ, stay, err);
	}
	return code;
}

/* A signal came. KVM may tell that instead of a step that is done at the same time. */
static void interrupted(struct kb_vcpu *v, struct kb_stay *stay)
{
	struct kb_step *s = &v->step;
	const struct kvm_regs *r = regs(v);

	if (stepping_user(v)) /* and no trap: not begun */
		return;
	if (r->rip == s->regs.rip && r->rsp == s->regs.rsp && r->rcx == s->regs.rcx) {
		unlimit(v);
		return;
	}
	retire(v, stay, completed(v, watched(&s->debug, linear(v, r->rip))), false);
}

static int after(struct kb_vcpu *v, struct kb_stay *stay, int code, struct kvmbox_error *err)
{
	struct kb_step *s = &v->step;

	if (code == EINTR) {
		v->stats.exits[KB_EXIT_KICK]++;
		interrupted(v, stay);
		kb_assist_kicked(v);
		return 0;
	}
	if (code)
		return kb_run_failed(v, code, err);
	switch (v->run->exit_reason) {
	case KVM_EXIT_DEBUG:
		v->stats.exits[KB_EXIT_STEP]++;
		retire(v, stay, completed(v, breakpoint(v)), false);
		return 0;
	case KVM_EXIT_IO:
	case KVM_EXIT_MMIO:
		charge(v, stay, !s->charged, true);
		s->charged = true;
		return 1;
	case KVM_EXIT_HLT:
		retire(v, stay, 1, true);
		return 1;
	case KVM_EXIT_INTERNAL_ERROR: /* the host's failing costs the guest no time */
		unlimit(v);
		charge(v, stay, 0, false);
		return 1;
	default:
		unlimit(v);
		charge(v, stay, 0, true);
		return 1;
	}
}

/* An NMI comes before the next instruction, too, unless one is being handled: then somewhen after that. */
static int look_for_nmi(struct kb_vcpu *v, struct kvmbox_error *err)
{
	struct kvm_vcpu_events events;
	int rc = call(v, KVM_GET_VCPU_EVENTS, &events, err);

	if (rc || events.nmi.masked)
		return rc;
	v->step.nmi = false;
	v->step.vector = X86_VECTOR_NMI;
	return 0;
}

/* ---- the way in ------------------------------------------------------------------- */

int kb_step_enter(struct kb_vcpu *v, uint64_t budget_ps, struct kvmbox_error *err)
{
	struct kb_step *s = &v->step;
	struct kvm_guest_debug d;
	struct kb_stay stay = { 0 };
	int code, rc = s->armed ? 0 : kb_step_begin(v, err);

	if (!rc && kb_assist_syscall(v)) {
		if (!s->guest_tf) /* ours, from stepping */
			regs(v)->r11 &= ~(uint64_t)X86_EFLAGS_TF;
		retire(v, &stay, 1, false);
		return 0;
	}
	if (!rc && s->nmi && s->vector < 0)
		rc = look_for_nmi(v, err);
	if (!rc)
		rc = prepare(v, budget_ps, &d, err);
	if (rc)
		return rc;
	if (s->emulated && !s->can[1] && s->vector < 0 && !s->fault && !s->nmi && kb_step_to_user(v)) {
		retire(v, &stay, 1, false);
		return 0;
	}
	rc = arm(v, &d, err);
	if (rc)
		return rc;
	v->run->request_interrupt_window = 0;
	code = kb_run_stay(v, v->tsc_hz / PATIENCE_HZ, &stay, err);
	if (code == EINTR)
		code = finish_trap(v, &stay, code, err);
	return code < 0 ? code : after(v, &stay, code, err);
}

bool kb_step_owes_trap(struct kb_vcpu *v)
{
	uint8_t byte;

	return v->sync_regs && v->step.can[0] && by_trap(v, sregs(v)) &&
		kb_linear_read(v, regs(v)->rip - 1, &byte, 1) == 1 && byte == X86_INT3;
}

bool kb_step_may_glide(const struct kb_vcpu *v)
{
	const struct kb_step *s = &v->step;

	/* What KVM is about to deliver has to be seen coming. */
	return s->why == KB_STEP_IRQ && s->vector < 0 && !s->nmi && !s->fault && by_trap(v, &v->run->s.regs.sregs);
}

int kb_step_glide(struct kb_vcpu *v, struct kvmbox_error *err)
{
	struct kb_step *s = &v->step;
	struct kvm_guest_debug d = { 0 };

	s->insn = (struct kb_insn){ .kind = KB_INSN_OTHER };
	s->regs.rip = UINT64_MAX;
	s->charged = false;
	watch_gate(v, &d, X86_VECTOR_BP);
	watch_gates(v, &d);
	restore_tf(v);
	return arm(v, &d, err);
}

int kb_step_complete(struct kb_vcpu *v, struct kvmbox_error *err)
{
	struct kb_step *s = &v->step;
	struct kb_stay stay = { .stepped = true };
	/* Where it is not stepped, all iterations of a string instruction's exit. */
	uint64_t n = v->count.on && v->run->exit_reason == KVM_EXIT_IO ? v->run->io.count : 1;
	int rc;

	__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_RELAXED);
	rc = v->vm->api->ioctl(v->fd, KVM_RUN, NULL);
	rc = rc < 0 ? errno : 0;
	__atomic_store_n(&v->run->immediate_exit, v->kick.fired != 0, __ATOMIC_RELAXED);
	v->state = KB_VCPU_READY;
	if (rc && rc != EINTR && rc != EAGAIN)
		return kb_run_failed(v, rc, err);
	if (!rc && v->run->exit_reason != KVM_EXIT_DEBUG) {
		charge(v, &stay, 0, true);
		return kb_exit_handle(v, err);
	}
	if (v->count.on)
		return kb_count_done(v, n, err);
	if (s->armed && s->insn.kind == KB_INSN_STRING)
		n = after_string(v);
	else if (s->armed && regs(v)->rip == s->regs.rip)
		n = !(s->fault = true);
	retire(v, &stay, n, false);
	return 0;
}

void kb_step_completed(struct kb_vcpu *v)
{
	struct kb_stay stay = { .stepped = true };

	if (v->step.armed)
		retire(v, &stay, 1, false);
	else if (v->count.on)
		kb_count_done(v, 1, NULL);
}

void kb_step_injected(struct kb_vcpu *v, int vector)
{
	if (!v->step.armed)
		return;
	v->step.vector = vector;
	v->step.fault = true;
}

int kb_step_leave(struct kb_vcpu *v, struct kvmbox_error *err)
{
	struct kb_step *s = &v->step;
	struct kvm_guest_debug off = { 0 };
	int rc;

	if (!s->armed)
		return 0;
	restore_tf(v);
	rc = arm(v, &off, err);
	if (!rc)
		rc = kb_step_flush(v, err);
	s->armed = false;
	return rc;
}
