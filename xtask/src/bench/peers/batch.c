/* Counts the entries of a pinned hash map with BPF_MAP_LOOKUP_BATCH: the least that reading a table can cost.
   usage: batch PIN */
#include <errno.h>

#include "bpf.h"

enum { BATCH = 4096 };

int main(int argc, char **argv)
{
	if (argc != 2)
		die("usage: batch PIN");
	struct table table = open_table(argv[1]);
	char *keys = room(BATCH * table.key_size), *values = room(BATCH * table.value_size);
	char *token = room(table.key_size < 4 ? 4 : table.key_size);
	unsigned long entries = 0;
	for (int first = 1;; first = 0) {
		union bpf_attr attr = { 0 };
		attr.batch.map_fd = table.fd;
		attr.batch.in_batch = first ? 0 : (unsigned long)token;
		attr.batch.out_batch = (unsigned long)token;
		attr.batch.keys = (unsigned long)keys;
		attr.batch.values = (unsigned long)values;
		attr.batch.count = BATCH;
		int failed = bpf(BPF_MAP_LOOKUP_BATCH, &attr);
		if (failed && errno != ENOENT)
			die("BPF_MAP_LOOKUP_BATCH");
		entries += attr.batch.count;
		if (failed)
			break;
	}
	printf("%lu\n", entries);
	return 0;
}
