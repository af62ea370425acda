// The C ABI without KVM: see fake_box.h.
#include "fake_box.h"

#include <cerrno>
#include <cstring>

namespace fake {

std::function<int(kvmbox_box &, kvmbox_error *)> program = serve_jobs;
std::deque<std::function<void(kvmbox_box &)>> jobs;
int create_error;
unsigned boxes;

int serve_jobs(kvmbox_box &b, kvmbox_error *)
{
	while (!b.stop && b.end == KVMBOX_END_NONE) {
		if (!jobs.empty()) {
			auto job = jobs.front();
			jobs.pop_front();
			job(b);
		} else if (b.wait(KVMBOX_TIME_NEVER, KVMBOX_WAIT_IDLE) < 0) {
			break;
		}
	}
	if (b.end == KVMBOX_END_NONE)
		b.end = KVMBOX_END_STOPPED;
	return 0;
}

} // namespace fake

int kvmbox_box::access(unsigned function, unsigned bar, uint64_t offset, unsigned len, bool write, uint64_t &data,
		       uint64_t &delay_ps, kvmbox_space space)
{
	kvmbox_access a{};
	uint64_t buf = write ? data : ~0ull;

	a.function = functions.at(function).get();
	a.space = space;
	a.bar = bar;
	a.offset = offset;
	a.data = reinterpret_cast<uint8_t *>(&buf);
	a.len = len;
	a.write = write;
	a.delay_ps = delay_ps;
	int r = ops->transport(opaque, &a);
	delay_ps = a.delay_ps;
	if (!write) {
		data = 0;
		memcpy(&data, &buf, len);
	}
	return r;
}

int kvmbox_box::post(unsigned function, unsigned bar, uint64_t offset, unsigned len, uint64_t data, uint64_t at_ps,
		     uint64_t lead_ps)
{
	kvmbox_access a{};
	uint64_t buf = data;

	a.function = functions.at(function).get();
	a.bar = bar;
	a.offset = offset;
	a.data = reinterpret_cast<uint8_t *>(&buf);
	a.len = len;
	a.write = true;
	a.delay_ps = lead_ps;
	int r = ops->post(opaque, &a, at_ps);
	buf = ~0ull; /* it was copied */
	return r;
}

int kvmbox_box::push(int function)
{
	return ops->push(opaque, function < 0 ? nullptr : functions.at(static_cast<unsigned>(function)).get());
}

void kvmbox_box::set_command(unsigned function, uint16_t command)
{
	functions.at(function)->command = command;
	ops->command_changed(opaque, functions.at(function).get(), command);
}

extern "C" {

static char *dup(const char *s)
{
	return s ? strdup(s) : nullptr;
}

void kvmbox_config_init(struct kvmbox_config *cfg)
{
	memset(static_cast<void *>(cfg), 0, sizeof(*cfg));
	cfg->ram = 1 << 20;
	cfg->completion_timeout_ps = 1000000; /* 1 us */
	cfg->serial = dup("null");
}

void kvmbox_config_clear(struct kvmbox_config *cfg)
{
	for (char *s : { cfg->guest, cfg->cpu, cfg->serial, cfg->debugcon, cfg->start_date, cfg->pace, cfg->stats_json })
		free(s);
	memset(static_cast<void *>(cfg), 0, sizeof(*cfg));
}

int kvmbox_config_copy(struct kvmbox_config *out, const struct kvmbox_config *cfg)
{
	*out = *cfg;
	for (char **s : { &out->guest, &out->cpu, &out->serial, &out->debugcon, &out->start_date, &out->pace, &out->stats_json })
		*s = dup(*s);
	return 0;
}

int kvmbox_config_set(struct kvmbox_config *cfg, const char *key, const char *value, struct kvmbox_error *err)
{
	for (auto &s : { std::make_pair("guest", &cfg->guest), std::make_pair("pace", &cfg->pace),
			 std::make_pair("stats_json", &cfg->stats_json) })
		if (!strcmp(key, s.first)) {
			free(*s.second);
			*s.second = dup(value);
			return 0;
		}
	snprintf(err->msg, sizeof(err->msg), "no key %s", key);
	return -EINVAL;
}

int kvmbox_config_parse(struct kvmbox_config *, const char *, struct kvmbox_error *)
{
	return 0;
}

double kvmbox_config_pace(const struct kvmbox_config *cfg)
{
	return cfg->pace && !strncmp(cfg->pace, "realtime*", 9) ? strtod(cfg->pace + 9, nullptr) : 0;
}

void kvmbox_config_help(FILE *out)
{
	fputs("guest\n", out);
}

int kvmbox_create(struct kvmbox_box **out, const struct kvmbox_config *cfg, const struct kvmbox_ops *ops, void *opaque,
		  struct kvmbox_error *err)
{
	*out = nullptr;
	if (fake::create_error) {
		snprintf(err->msg, sizeof(err->msg), "no box today");
		return fake::create_error;
	}
	auto *b = new kvmbox_box();
	b->ops = ops;
	b->opaque = opaque;
	b->quantum_ps = cfg->quantum_ps;
	b->ram.resize(kvmbox_box::ram_size);
	b->high.resize(0x1000);
	b->rom.resize(0x1000, 0xAA);
	fake::boxes++;
	*out = b;
	return 0;
}

void kvmbox_destroy(struct kvmbox_box *box)
{
	if (!box)
		return;
	fake::boxes--;
	delete box;
}

int kvmbox_add_function(struct kvmbox_box *box, const struct kvmbox_function_config *cfg, void *opaque,
			struct kvmbox_function **out, struct kvmbox_error *err)
{
	*out = nullptr;
	if (cfg->slot > 31) {
		snprintf(err->msg, sizeof(err->msg), "slot %d", cfg->slot);
		return -EINVAL;
	}
	auto f = std::make_unique<kvmbox_function>();
	f->box = box;
	f->opaque = opaque;
	f->name = cfg->name;
	f->cfg = *cfg;
	*out = f.get();
	box->functions.push_back(std::move(f));
	return 0;
}

void *kvmbox_function_opaque(const struct kvmbox_function *f) { return f->opaque; }
const char *kvmbox_function_name(const struct kvmbox_function *f) { return f->name.c_str(); }
unsigned kvmbox_function_bdf(const struct kvmbox_function *f)
{
	for (unsigned i = 0; i < f->box->functions.size(); i++)
		if (f->box->functions[i].get() == f)
			return (i + 1) << 3;
	return 0;
}
bool kvmbox_function_bar_address(const struct kvmbox_function *, unsigned bar, uint64_t *address)
{
	*address = 0xE0000000u + (bar << 20);
	return true;
}

int kvmbox_run(struct kvmbox_box *box, struct kvmbox_error *err)
{
	box->in_run = true;
	int r = fake::program(*box, err);
	box->in_run = false;
	return r;
}
enum kvmbox_end_reason kvmbox_end(const struct kvmbox_box *box) { return box->end; }
int kvmbox_exit_status(const struct kvmbox_box *box) { return box->exit_status; }
void kvmbox_stop(struct kvmbox_box *box) { box->stop = true; }
int kvmbox_set_quantum(struct kvmbox_box *box, uint64_t quantum_ps)
{
	box->quantum_ps = quantum_ps;
	return 0;
}
int kvmbox_stop_after(struct kvmbox_box *, uint64_t, struct kvmbox_error *) { return 0; }
uint64_t kvmbox_time(const struct kvmbox_box *box) { return box->time_ps; }

void kvmbox_post_failed(struct kvmbox_function *f) { f->post_failures++; }
void kvmbox_intx(struct kvmbox_function *f, bool active) { f->intx = active; }
int kvmbox_msi(struct kvmbox_function *f, unsigned vector)
{
	if (!f->msi_enabled)
		return -ENODEV;
	f->msis.push_back(vector);
	return 1;
}

uint8_t *kvmbox_dma_ptr(struct kvmbox_box *b, uint64_t addr, uint64_t *start, uint64_t *end, bool *readonly)
{
	struct {
		uint64_t base;
		std::vector<uint8_t> &bytes;
		bool ro;
	} regions[] = { { 0, b->ram, false }, { b->high_base, b->high, false }, { b->rom_base, b->rom, true } };

	for (auto &r : regions)
		if (addr >= r.base && addr - r.base < r.bytes.size()) {
			*start = r.base;
			*end = r.base + r.bytes.size() - 1;
			*readonly = r.ro;
			return r.bytes.data() + (addr - r.base);
		}
	return nullptr;
}

int kvmbox_dma(struct kvmbox_box *b, struct kvmbox_function *f, uint64_t addr, void *buf, size_t len, bool write)
{
	auto *p = static_cast<uint8_t *>(buf);

	if (f && !(f->command & 4))
		return -EPERM;
	if (addr >> 20 == 0xFEE && write && len == 4) {
		uint32_t v;
		memcpy(&v, buf, 4);
		b->msi_writes.push_back({ addr, v });
		return 0;
	}
	for (size_t pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < len; i++) {
			uint64_t start, end;
			bool ro;
			uint8_t *m = kvmbox_dma_ptr(b, addr + i, &start, &end, &ro);
			if (!m || (ro && write))
				return -EFAULT;
			if (pass && write)
				*m = p[i];
			else if (pass)
				p[i] = *m;
		}
	return 0;
}

bool kvmbox_bus_master(const struct kvmbox_function *f) { return f->command & 4; }
size_t kvmbox_serial_output(struct kvmbox_box *, const char **text)
{
	*text = "out";
	return 3;
}
int kvmbox_serial_input(struct kvmbox_box *, const void *, size_t) { return 0; }
void kvmbox_power_button(struct kvmbox_box *b) { b->power_presses++; }
size_t kvmbox_poll_fds(const struct kvmbox_box *b, int *fds, size_t max)
{
	for (size_t i = 0; i < b->fds.size() && i < max; i++)
		fds[i] = b->fds[i];
	return b->fds.size();
}
bool kvmbox_poll(struct kvmbox_box *b)
{
	b->input_polls++;
	return b->on_poll && b->on_poll();
}
void kvmbox_get_stats(const struct kvmbox_box *b, struct kvmbox_stats *stats)
{
	memset(stats, 0, sizeof(*stats));
	stats->entries = 7;
	stats->host_idle_ns = b->slept_ns;
}
void kvmbox_slept(struct kvmbox_box *b, uint64_t host_ns) { b->slept_ns += host_ns; }

} // extern "C"
