/* bpf(2) without a library. */
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

struct table {
	int fd;
	unsigned key_size, value_size;
};

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static long bpf(int command, union bpf_attr *attr)
{
	return syscall(SYS_bpf, command, attr, sizeof(*attr));
}

static char *room(size_t size)
{
	char *bytes = calloc(1, size);
	if (!bytes)
		die("calloc");
	return bytes;
}

/* Opens a pinned map for reading. */
static struct table open_table(const char *pin)
{
	union bpf_attr attr = { 0 };
	attr.pathname = (unsigned long)pin;
	attr.file_flags = BPF_F_RDONLY;
	int fd = bpf(BPF_OBJ_GET, &attr);
	if (fd < 0)
		die(pin);
	struct bpf_map_info info = { 0 };
	union bpf_attr ask = { 0 };
	ask.info.bpf_fd = fd;
	ask.info.info_len = sizeof(info);
	ask.info.info = (unsigned long)&info;
	if (bpf(BPF_OBJ_GET_INFO_BY_FD, &ask))
		die("BPF_OBJ_GET_INFO_BY_FD");
	return (struct table){ fd, info.key_size, info.value_size };
}
