/* Counts the entries of a pinned map with BPF_MAP_GET_NEXT_KEY and BPF_MAP_LOOKUP_ELEM, as most tools do.
   usage: next_key PIN */
#include <errno.h>
#include <string.h>

#include "bpf.h"

int main(int argc, char **argv)
{
	if (argc != 2)
		die("usage: next_key PIN");
	struct table table = open_table(argv[1]);
	char *key = room(table.key_size), *next = room(table.key_size), *value = room(table.value_size);
	unsigned long entries = 0;
	for (int first = 1;; first = 0) {
		union bpf_attr attr = { 0 };
		attr.map_fd = table.fd;
		attr.key = first ? 0 : (unsigned long)key;
		attr.next_key = (unsigned long)next;
		if (bpf(BPF_MAP_GET_NEXT_KEY, &attr)) {
			if (errno == ENOENT)
				break;
			die("BPF_MAP_GET_NEXT_KEY");
		}
		memcpy(key, next, table.key_size);
		memset(&attr, 0, sizeof(attr));
		attr.map_fd = table.fd;
		attr.key = (unsigned long)key;
		attr.value = (unsigned long)value;
		if (!bpf(BPF_MAP_LOOKUP_ELEM, &attr))
			entries++;
		else if (errno != ENOENT)
			die("BPF_MAP_LOOKUP_ELEM");
	}
	printf("%lu\n", entries);
	return 0;
}
