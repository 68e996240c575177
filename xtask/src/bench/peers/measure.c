/* Runs a command and writes what it cost, one line of `name value` pairs, to FILE:
   wall_ns first_ns user_ns system_ns resident_kib bytes lines code
   With `pipe` its stdout is read and counted here, with `null` it goes to /dev/null, with `keep` it is ours.
   SIGINT and SIGTERM are passed on.
   usage: measure FILE pipe|null|keep COMMAND ARGUMENTS... */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static pid_t child;

static void die(const char *what)
{
	perror(what);
	exit(127);
}

static void pass_on(int number)
{
	kill(child, number);
}

static long long now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static long long nanoseconds(struct timeval time)
{
	return time.tv_sec * 1000000000LL + time.tv_usec * 1000LL;
}

int main(int argc, char **argv)
{
	if (argc < 4)
		die("usage: measure FILE pipe|null|keep COMMAND ARGUMENTS...");
	int piped = !strcmp(argv[2], "pipe"), null = !strcmp(argv[2], "null"), ends[2] = { -1, -1 };
	static char buffer[1 << 20];
	if (piped && pipe2(ends, O_CLOEXEC))
		die("pipe");
	if (piped)
		fcntl(ends[1], F_SETPIPE_SZ, sizeof(buffer));
	if (null)
		ends[1] = open("/dev/null", O_WRONLY | O_CLOEXEC);
	long long start = now(), first = -1, bytes = 0, lines = 0;
	child = fork();
	if (child < 0)
		die("fork");
	if (!child) {
		if (ends[1] >= 0)
			dup2(ends[1], 1);
		execvp(argv[3], argv + 3);
		die(argv[3]);
	}
	struct sigaction action = { .sa_handler = pass_on, .sa_flags = SA_RESTART };
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	if (ends[1] >= 0)
		close(ends[1]);
	while (piped) {
		ssize_t count = read(ends[0], buffer, sizeof(buffer));
		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0)
			break;
		if (first < 0)
			first = now() - start;
		bytes += count;
		for (char *at = buffer, *end = buffer + count; (at = memchr(at, '\n', end - at)); at++)
			lines++;
	}
	int status;
	struct rusage usage;
	while (wait4(child, &status, 0, &usage) < 0)
		if (errno != EINTR)
			die("wait4");
	long long wall = now() - start;
	FILE *file = fopen(argv[1], "w");
	if (!file)
		die(argv[1]);
	fprintf(file, "wall_ns %lld first_ns %lld user_ns %lld system_ns %lld resident_kib %ld bytes %lld lines %lld code %d\n",
		wall, first, nanoseconds(usage.ru_utime), nanoseconds(usage.ru_stime), usage.ru_maxrss, bytes, lines,
		WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	fclose(file);
	return 0;
}
