/* Rate limit for messages the guest can provoke: the first 8, then each power of two. */
#ifndef KVMBOX_TLM_RATELIMIT_H
#define KVMBOX_TLM_RATELIMIT_H

namespace kvmbox {

inline bool ratelimit(unsigned long &count)
{
	count++;
	return count <= 8 || (count & (count - 1)) == 0;
}

} // namespace kvmbox

#endif
