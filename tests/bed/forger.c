/* forger - does what a service may do to be taken for somebody else, for tests with a real systemd.
 *
 *   forger send SOCKET [PID]   send standard input as one datagram to this socket, such as /dev/log; with PID, as if
 *                              that process had sent it (SCM_CREDENTIALS, which needs CAP_SYS_ADMIN)
 *   forger name NUMBER         take standard input for this process's name (PR_SET_NAME), and make the system call
 *                              of this number, with arguments that do nothing
 */
#define _GNU_SOURCE
#include <err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static char text[65536];

static size_t standard_input(void)
{
	size_t length = 0;
	ssize_t got;

	while ((got = read(STDIN_FILENO, text + length, sizeof text - 1 - length)) > 0)
		length += (size_t)got;
	if (got < 0)
		err(1, "standard input");
	return length;
}

static int send_as(const char *path, const char *pid)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	struct iovec data = { text, standard_input() };
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(struct ucred))];
	} control = { 0 };
	struct msghdr message = { .msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &data, .msg_iovlen = 1 };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || strlen(path) >= sizeof to.sun_path)
		err(1, "socket");
	strcpy(to.sun_path, path);
	if (pid != NULL) {
		struct ucred who = { atoi(pid), getuid(), getgid() };

		message.msg_control = &control;
		message.msg_controllen = sizeof control;
		control.head = (struct cmsghdr){ CMSG_LEN(sizeof who), SOL_SOCKET, SCM_CREDENTIALS };
		memcpy(CMSG_DATA(&control.head), &who, sizeof who);
	}
	if (sendmsg(fd, &message, MSG_NOSIGNAL) < 0)
		err(1, "%s", path);
	return 0;
}

static int name(const char *number)
{
	text[standard_input()] = '\0';
	if (prctl(PR_SET_NAME, text) < 0)
		err(1, "PR_SET_NAME");
	syscall(atol(number), -1L, 0L, 0L, 0L, 0L, 0L);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc >= 3 && strcmp(argv[1], "send") == 0)
		return send_as(argv[2], argv[3]);
	if (argc == 3 && strcmp(argv[1], "name") == 0)
		return name(argv[2]);
	errx(2, "usage: forger send SOCKET [PID] | forger name NUMBER");
}
