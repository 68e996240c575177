/* Sends UDP datagrams of 64 bytes to a closed port of 127.0.0.1 as fast as one thread can, each dropped by the kernel
   (NO_SOCKET), and prints how many it sent and in how many nanoseconds.
   usage: flood COUNT PORT */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

static long long now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return fprintf(stderr, "usage: flood COUNT PORT\n"), 2;
	long long count = atoll(argv[1]), sent = 0;
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(atoi(argv[2])) };
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int socket_fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (socket_fd < 0)
		return perror("socket"), 1;
	char payload[64] = { 0 };
	long long start = now();
	for (long long i = 0; i < count; i++)
		sent += sendto(socket_fd, payload, sizeof(payload), 0, (struct sockaddr *)&to, sizeof(to)) == sizeof(payload);
	printf("%lld %lld\n", sent, now() - start);
	return 0;
}
