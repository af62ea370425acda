/*
 * "stdio": stdin and stdout, with the terminal in raw mode if stdin is one. See
 * chardev.h, termios(3), signal-safety(7).
 *
 * The terminal outlives the process and belongs to all of it, hence the state
 * that is not in struct kb_chardev: signal and exit handlers have no other way
 * to find it. What they call is async-signal-safe.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "devices/chardev_impl.h"

#define ESCAPE 0x01 /* Ctrl-A */

struct stdio {
	bool terminal;
	bool eof;
	bool escaped;     /* an escape came last */
	bool may_sigpipe;
};

static atomic_flag taken = ATOMIC_FLAG_INIT;

static struct {
	volatile sig_atomic_t active; /* stdin is a terminal and ours */
	volatile sig_atomic_t raw;    /* `saved` is what has to be put back */
	pid_t pid;                    /* not the children it forks */
	struct termios saved;
} term;

/* Terminal */

/* False too for a terminal that is not the controlling one: it has no job control. */
static bool in_background(void)
{
	pid_t group = tcgetpgrp(STDIN_FILENO);

	return group != -1 && group != getpgrp();
}

/* TCSANOW: never waits. SIGTTOU blocked: never stops the process. */
static void set_mode(const struct termios *mode)
{
	sigset_t ttou, old;

	sigemptyset(&ttou);
	sigaddset(&ttou, SIGTTOU);
	pthread_sigmask(SIG_BLOCK, &ttou, &old);
	tcsetattr(STDIN_FILENO, TCSANOW, mode);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

/* Output processing stays on: the program's own messages share the screen. */
static void enter_raw(void)
{
	struct termios t = term.saved;

	if (!term.active || term.pid != getpid() || in_background())
		return;
	t.c_iflag &= ~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
	t.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | ISIG | IEXTEN);
	t.c_cflag = (t.c_cflag & ~(tcflag_t)(CSIZE | PARENB)) | CS8;
	t.c_cc[VMIN] = 1;
	t.c_cc[VTIME] = 0;
	term.raw = 1; /* first: a signal in between must restore */
	set_mode(&t);
}

static void leave_raw(void)
{
	if (!term.raw || term.pid != getpid())
		return;
	set_mode(&term.saved);
	term.raw = 0;
}

/* Signals */

static struct hook {
	int sig;
	bool installed; /* stays true if someone who chains to us sits on top */
	struct sigaction prev;
} hooks[] = {
	{ .sig = SIGTERM }, { .sig = SIGINT }, { .sig = SIGHUP }, { .sig = SIGQUIT }, { .sig = SIGABRT },
	{ .sig = SIGSEGV }, { .sig = SIGBUS }, { .sig = SIGFPE }, { .sig = SIGILL },
	{ .sig = SIGTSTP }, { .sig = SIGCONT },
};
#define HOOKS (sizeof(hooks) / sizeof(hooks[0]))

static bool is_handler(const struct sigaction *sa)
{
	return (sa->sa_flags & SA_SIGINFO) || (sa->sa_handler != SIG_DFL && sa->sa_handler != SIG_IGN);
}

/*
 * SIGTSTP's default action, then back here at SIGCONT, whose handler has to
 * wait until ours is back in place: a stop in between would leave it raw.
 */
static void stop_here(void)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL }, ours;
	sigset_t tstp, cont, old;

	sigemptyset(&tstp);
	sigaddset(&tstp, SIGTSTP);
	sigemptyset(&cont);
	sigaddset(&cont, SIGCONT);
	pthread_sigmask(SIG_BLOCK, &cont, &old);
	sigaction(SIGTSTP, &dfl, &ours);
	raise(SIGTSTP);
	pthread_sigmask(SIG_UNBLOCK, &tstp, NULL);
	sigaction(SIGTSTP, &ours, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

/*
 * The default action follows when the handler returns: a fault happens again
 * (which keeps its address for the core file), anything else is sent again.
 */
static void die(int sig, const siginfo_t *info)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	bool fault = (sig == SIGSEGV || sig == SIGBUS || sig == SIGFPE || sig == SIGILL) && info->si_code > 0;

	sigaction(sig, &dfl, NULL);
	if (!fault)
		raise(sig);
}

/* What would have happened without us. False if the process ends. */
static bool chain(struct hook *h, siginfo_t *info, void *context)
{
	struct sigaction prev = h->prev;

	if (is_handler(&prev)) {
		if (prev.sa_flags & (int)SA_RESETHAND)
			h->prev = (struct sigaction){ .sa_handler = SIG_DFL };
		if (prev.sa_flags & SA_SIGINFO)
			prev.sa_sigaction(h->sig, info, context);
		else
			prev.sa_handler(h->sig);
	} else if (prev.sa_handler == SIG_IGN || h->sig == SIGCONT) {
		return true;
	} else if (h->sig == SIGTSTP) {
		stop_here();
	} else {
		die(h->sig, info);
		return false;
	}
	return true;
}

static void on_signal(int sig, siginfo_t *info, void *context)
{
	int saved_errno = errno;
	struct hook *h = hooks;

	while (h < hooks + HOOKS - 1 && h->sig != sig)
		h++;
	if (sig == SIGCONT)
		term.raw = 0; /* the shell has set its own mode meanwhile */
	else
		leave_raw();
	if (chain(h, info, context))
		enter_raw();
	errno = saved_errno;
}

static void install(struct hook *h)
{
	struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_RESTART };

	if (h->installed || sigaction(h->sig, NULL, &h->prev))
		return;
	if (!is_handler(&h->prev) && h->prev.sa_handler == SIG_IGN && h->sig != SIGCONT)
		return; /* nohup and the like: stays ignored */
	if (is_handler(&h->prev)) {
		sa.sa_mask = h->prev.sa_mask;
		sa.sa_flags = h->prev.sa_flags & (SA_RESTART | SA_NODEFER);
	}
	sa.sa_flags |= SA_SIGINFO | SA_ONSTACK;
	h->installed = !sigaction(h->sig, &sa, NULL);
}

static void uninstall(struct hook *h)
{
	struct sigaction now;

	if (!h->installed || sigaction(h->sig, NULL, &now))
		return;
	if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_signal && !sigaction(h->sig, &h->prev, NULL))
		h->installed = false;
}

/* The back end */

static int stdio_open(struct kb_chardev *c, const char *path, struct kvmbox_error *err)
{
	static atomic_flag registered = ATOMIC_FLAG_INIT;
	struct stdio *s;

	(void)path;
	if (atomic_flag_test_and_set(&taken))
		return kb_fail(err, EBUSY, "%s: stdio is in use by another port; give one of them another back end",
			       c->what);
	s = calloc(1, sizeof(*s));
	if (!s) {
		atomic_flag_clear(&taken);
		return kb_fail(err, ENOMEM, "%s: out of memory", c->what);
	}
	c->state = s;
	s->may_sigpipe = kb_fd_may_sigpipe(STDOUT_FILENO);
	s->terminal = isatty(STDIN_FILENO) && !tcgetattr(STDIN_FILENO, &term.saved);
	if (!s->terminal)
		return 0;
	c->eager = true;
	c->in.limit = KB_CHARDEV_TYPED;
	term.pid = getpid();
	term.active = 1;
	for (size_t i = 0; i < HOOKS; i++)
		install(&hooks[i]);
	if (!atomic_flag_test_and_set(&registered))
		atexit(leave_raw);
	enter_raw();
	kb_logf(&c->log, KVMBOX_LOG_INFO, "%s is on this terminal; Ctrl-A x quits, Ctrl-A Ctrl-A sends Ctrl-A", c->what);
	return 0;
}

static void stdio_close(struct kb_chardev *c)
{
	struct stdio *s = c->state;

	if (s->terminal) {
		term.active = 0;
		leave_raw();
		for (size_t i = 0; i < HOOKS; i++)
			uninstall(&hooks[i]);
	}
	free(s);
	atomic_flag_clear(&taken);
}

static ssize_t stdio_send(struct kb_chardev *c, const uint8_t *bytes, size_t len)
{
	const struct stdio *s = c->state;

	return kb_fd_write(STDOUT_FILENO, s->may_sigpipe, bytes, len);
}

/* Back from the background without a SIGCONT handler, or from a handler that jumped away. */
static void stdio_service(struct kb_chardev *c)
{
	(void)c;
	if (term.active && !term.raw)
		enter_raw();
}

/* Takes the escapes out of what was typed. Returns at most one byte more than it got. */
static size_t unescape(struct kb_chardev *c, struct stdio *s, const uint8_t *typed, size_t len, uint8_t *out)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		uint8_t key = typed[i];

		if (!s->escaped && key == ESCAPE) {
			s->escaped = true;
			continue;
		}
		if (s->escaped && (key == 'x' || key == 'X')) {
			if (c->quit)
				c->quit(c->quit_opaque);
		} else {
			if (s->escaped && key != ESCAPE)
				out[n++] = ESCAPE; /* not one of ours: both go to the guest */
			out[n++] = key;
		}
		s->escaped = false;
	}
	return n;
}

/* poll() before read() instead of O_NONBLOCK, which others who share the description would see. */
static size_t stdio_receive(struct kb_chardev *c, uint8_t *bytes, size_t len)
{
	struct stdio *s = c->state;
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
	uint8_t typed[KB_CHARDEV_CHUNK];
	ssize_t n;

	if (s->eof || (s->terminal && !term.raw) || poll(&p, 1, 0) <= 0)
		return 0;
	n = read(STDIN_FILENO, typed, s->terminal ? len - 1 : len);
	if (n > 0) {
		if (s->terminal)
			return unescape(c, s, typed, (size_t)n, bytes);
		memcpy(bytes, typed, (size_t)n);
		return (size_t)n;
	}
	if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		s->eof = true;
		kb_logf(&c->log, KVMBOX_LOG_INFO, "%s: end of input on stdin%s%s", c->what,
		       n ? ": " : "", n ? strerror(errno) : "");
	}
	return 0;
}

static size_t stdio_fds(const struct kb_chardev *c, bool wanted, int *fds, size_t max)
{
	const struct stdio *s = c->state;

	if (!wanted || !max || s->eof || (s->terminal && !term.raw))
		return 0;
	fds[0] = STDIN_FILENO;
	return 1;
}

const struct kb_chardev_ops kb_chardev_stdio = {
	.kind = "stdio", .open = stdio_open, .close = stdio_close, .service = stdio_service,
	.send = stdio_send, .receive = stdio_receive, .fds = stdio_fds,
};
