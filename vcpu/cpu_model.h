/*
 * CPU models: what cpu= names. A model is a set of features with an identity (vendor, family, model, stepping, brand) and caches; it
 * can never have what KVM on the host does not offer, and that is told.
 */
#ifndef KB_CPU_MODEL_H
#define KB_CPU_MODEL_H

#include <stddef.h>

#include "vcpu/cpuid.h"

#define KB_CPU_MISSING_MAX 1024

/*
 * Applies "[MODEL][,+feature,-feature,...][,key=value,...]" to table, which has what the host offers. MODEL: host (as is, also
 * if none is named), or one of kb_cpu_model_name(). Features as for kb_cpuid_edit(). Keys: vendor (12 characters), family, model, stepping
 * (numbers), brand (at most 47 characters, no comma). "enforce": it is an error if the host lacks something of the model.
 * missing: room for KB_CPU_MISSING_MAX bytes, gets the names of what it lacks, with blanks between; empty: nothing.
 * On failure table is unchanged. -EINVAL: unknown model, feature or key, or a value it cannot have; -EOPNOTSUPP: enforce.
 */
int kb_cpu_apply(struct kb_cpuid *table, const char *spec, char *missing, struct kvmbox_error *err);

/* The models' names, from 0 on; NULL behind the last. What they are, in a few words. */
const char *kb_cpu_model_name(size_t i);
const char *kb_cpu_model_about(size_t i);

/*
 * Features that shown has and wanted has not, and the other way round with a minus: on some hosts KVM_SET_CPUID2 does not have the
 * last word. Names with blanks between, cut at the end of room.
 */
void kb_cpu_difference(const struct kb_cpuid *wanted, const struct kb_cpuid *shown, char *names, size_t room);

#endif
