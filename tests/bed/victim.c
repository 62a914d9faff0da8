/* victim - a service that makes exactly the system calls it is told to, for tests with a real systemd.
 *
 *   victim [OPTION]... CALL...
 *
 * CALL is a name out of the table below, or nr=NUMBER. Each is made once, directly, in the order
 * given, with arguments that do nothing whatever privileges the process has. One line is printed for
 * each: "CALL = RESULT ERRNONAME". CALL! says that a refusal matters: victim exits with 1 on EPERM or EACCES;
 * CALL!! on ENOSYS as well.
 *
 *   notify         after the calls, send READY=1 to $NOTIFY_SOCKET
 *   forking        become a daemon first; its parent exits with 0 once the daemon runs
 *   pidfile=PATH   the daemon writes its PID there before its parent exits
 *   child          a forked child makes the calls; however it dies, the parent reaps it and goes on
 *   every=SECONDS  with child: another child each period, for ever
 *   after=SECONDS  wait before the calls
 *   hot            make the calls again and again, for ever, as fast as can be
 *   i386           make the calls through int $0x80, with i386 numbers (x86-64 only)
 *   sleep          wait for ever at the end (so does a daemon)
 *   exit=N         exit with N at the end instead of 0
 *
 * Beside the calls named it makes those of a static C program's start (prlimit64 to read, readlink,
 * mprotect, getrandom, brk, ...), fstat, lseek, write, and what the options need: clone, wait4,
 * clock_nanosleep, pause, sendto.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* Newer than the headers of Debian 12. */
#ifndef SYS_uretprobe
#define SYS_uretprobe 335
#endif

enum { I386_ARGS = 5, NONE = -1 };

/* Static data of a static program lies below 4 GiB, so that int $0x80 can take its address. */
static const uint32_t unlimited[4] = { ~0U, ~0U, ~0U, ~0U }; /* two limits, of 32 or of 64 bits */
static const uint32_t zeros[64];
static uint32_t scratch[1024];
static const char nowhere[] = "/nonexistent/victim";

#define P(pointer) ((long)(intptr_t)(pointer))
#define CALL(name, i386, ...) { #name, SYS_##name, i386, { __VA_ARGS__ } }

static const struct call {
	const char *name;
	long native, i386;
	long args[6];
} calls[] = {
	/* @resources and the like: these succeed */
	CALL(setrlimit, 75, RLIMIT_RTTIME, P(unlimited)),
	CALL(prlimit64, 340, 0, RLIMIT_RTTIME, P(unlimited), 0),
	CALL(setpriority, 97, PRIO_PROCESS, 0, 1),
	CALL(getpriority, 96, PRIO_PROCESS, 0),
	CALL(sched_setscheduler, 156, 0, 0 /* SCHED_OTHER */, P(zeros)),
	CALL(sched_setaffinity, 241, 0, sizeof unlimited, P(unlimited)),
	CALL(set_mempolicy, 276, 0 /* MPOL_DEFAULT */, 0, 0),
	CALL(mbind, 274, 0, 0, 0, 0, 0, 0),
	CALL(ioprio_set, 289, 1 /* IOPRIO_WHO_PROCESS */, 0, 2 << 13 | 4 /* best effort */),
	CALL(mlock, 150, 0, 0),
	CALL(uname, 122, P(scratch)),
#ifdef SYS_iopl
	CALL(iopl, 110, 0),
#endif
	CALL(sync, 36, 0),
	CALL(unshare, 310, 0),
	CALL(getrandom, 355, P(scratch), 1, 1 /* GRND_NONBLOCK */),
	CALL(personality, 136, 0xffffffff /* ask only */),
	CALL(pkey_alloc, 381, 0, 0),
	CALL(pkey_mprotect, 380, 0, 0, 1 /* PROT_READ */, -1),
	/* these fail whoever calls: no such file, file descriptor, process, command or flag */
	CALL(chown, 182, P(nowhere), -1, -1),
	CALL(lchown, 198, P(nowhere), -1, -1),
	CALL(fchown, 207, -1, -1, -1),
	CALL(fchownat, 298, -1, P("victim"), -1, -1, 0),
	CALL(mlockall, 152, 0),
	CALL(ptrace, 26, PTRACE_DETACH, 0, 0, 0), /* TRACEME would have every later signal stop it */
	CALL(setns, 346, -1, 0),
	CALL(mount, 21, P(nowhere), P(nowhere), P("tmpfs"), 0, 0),
	CALL(umount2, 52, P(nowhere), 0),
	CALL(chroot, 61, P(nowhere)),
	CALL(swapon, 87, P(nowhere), 0),
	CALL(bpf, 357, 9999, 0, 0),
	CALL(perf_event_open, 336, 0, 0, -1, -1, 0),
	CALL(userfaultfd, 374, -1),
	CALL(keyctl, 288, 9999),
	CALL(add_key, 286, 0, 0, 0, 0, 0),
	CALL(process_mrelease, 448, -1, 0),
	CALL(kcmp, 349, -1, -1, 0, 0, 0),
	CALL(quotactl, 131, -1, 0, 0, 0),
	CALL(reboot, 88, 0, 0, 0, 0), /* not its magic numbers */
	CALL(clock_settime, 264, 99, P(zeros)),
	CALL(init_module, 128, 0, 0, P("")),
	CALL(delete_module, 129, P("no-such-module"), 0),
	CALL(io_uring_setup, 425, 0, 0),
	CALL(clone3, 435, 0, 0),
	CALL(openat2, 437, -1, P("victim"), 0, 0),
	CALL(faccessat2, 439, -1, P("victim"), 0, 0),
	CALL(statx, 383, -1, P("victim"), 0, 0, P(scratch)),
	CALL(uretprobe, NONE), /* a kernel that has it answers a stray call with SIGILL or ENXIO */
};

static struct {
	int notify, forking, child, every, after, hot, i386, sleep, exit;
	const char *pidfile;
} options;

static void die(const char *what)
{
	dprintf(STDERR_FILENO, "victim: %s\n", what);
	_exit(2);
}

static long int80(long nr, const long a[I386_ARGS])
{
#ifdef __x86_64__
	long result;
	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(nr), "b"(a[0]), "c"(a[1]), "d"(a[2]), "S"(a[3]), "D"(a[4])
			 : "memory", "cc", "r8", "r9", "r10", "r11");
	return (int)result;
#else
	(void)nr, (void)a;
	die("i386 is for x86-64 only");
	return 0;
#endif
}

/* The arguments of the call that WORD names, and its number. */
static const long *arguments_of(const char *word, long *number)
{
	static const long nothing[6];
	size_t length = strcspn(word, "!");
	const long *args = NULL;
	long nr = NONE;

	if (strncmp(word, "nr=", 3) == 0) {
		nr = strtol(word + 3, NULL, 0);
		args = nothing;
	}
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
		if (strlen(calls[i].name) == length && strncmp(calls[i].name, word, length) == 0) {
			nr = options.i386 ? calls[i].i386 : calls[i].native;
			args = calls[i].args;
		}
	if (!args || nr < 0)
		die(word);
	*number = nr;
	return args;
}

/* Makes one call and prints what came of it. False if it had to be permitted and was not. */
static int make(const char *word)
{
	size_t length = strcspn(word, "!");
	long nr, result;
	const long *args = arguments_of(word, &nr);
	int error = 0;

	if (options.i386) {
		result = int80(nr, args);
		if (result < 0 && result >= -4095) {
			error = (int)-result;
			result = -1;
		}
	} else {
		result = syscall(nr, args[0], args[1], args[2], args[3], args[4], args[5]);
		error = result == -1 ? errno : 0;
	}
	dprintf(STDOUT_FILENO, "%.*s = %ld%s%s\n", (int)length, word, result, error ? " " : "",
		error ? strerrorname_np(error) : "");
	if (word[length] != '!')
		return 1;
	return error != EPERM && error != EACCES && !(word[length + 1] == '!' && error == ENOSYS);
}

static void make_all(char *const *words)
{
	for (char *const *word = words; *word; word++)
		if (!make(*word))
			_exit(1);
	while (options.hot)
		for (char *const *word = words; *word; word++) {
			long nr;
			const long *args = arguments_of(*word, &nr);

			syscall(nr, args[0], args[1], args[2], args[3], args[4], args[5]);
		}
}

static void make_all_in_a_child(char *const *words)
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid == 0) {
		make_all(words);
		_exit(0);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			die("waitpid");
	dprintf(STDOUT_FILENO, WIFSIGNALED(status) ? "child: signal %d\n" : "child: exit %d\n",
		WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

/* The parent exits once the daemon has written to, or by its death closed, the pipe. */
static void become_a_daemon(void)
{
	int pipe_fds[2];
	char byte;
	pid_t pid;

	if (pipe(pipe_fds) < 0 || (pid = fork()) < 0)
		die("fork");
	if (pid > 0) {
		close(pipe_fds[1]);
		_exit(read(pipe_fds[0], &byte, 1) == 1 ? 0 : 1);
	}
	setsid();
	if ((pid = fork()) != 0)
		_exit(pid < 0);
	if (options.pidfile) {
		int fd = open(options.pidfile, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
		if (fd < 0 || dprintf(fd, "%d\n", getpid()) < 0)
			die(options.pidfile);
		close(fd);
	}
	if (write(pipe_fds[1], "", 1) != 1)
		die("pipe");
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}

static void say_ready(void)
{
	static const char ready[] = "READY=1";
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t length = path ? strlen(path) : 0;
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || length == 0 || length >= sizeof address.sun_path)
		die("no NOTIFY_SOCKET");
	memcpy(address.sun_path, path, length);
	if (*path == '@')
		*address.sun_path = '\0';
	if (sendto(fd, ready, sizeof ready - 1, MSG_NOSIGNAL, (struct sockaddr *)&address,
		   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)) < 0)
		die("READY=1 cannot be sent");
	close(fd);
}

/* Takes WORD as an option, or leaves it as a call. */
static int is_option(const char *word)
{
	static const struct {
		const char *name;
		int *value;
	} flags[] = { { "notify", &options.notify }, { "forking", &options.forking },
		      { "child", &options.child },   { "i386", &options.i386 },
		      { "sleep", &options.sleep },   { "every", &options.every },
		      { "after", &options.after },   { "exit", &options.exit },
		      { "hot", &options.hot } };
	size_t length = strcspn(word, "=");
	const char *value = word[length] ? word + length + 1 : NULL;

	if (value && strncmp(word, "pidfile=", 8) == 0) {
		options.pidfile = value;
		return 1;
	}
	for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
		if (strlen(flags[i].name) == length && strncmp(flags[i].name, word, length) == 0) {
			*flags[i].value = value ? atoi(value) : 1;
			return 1;
		}
	return 0;
}

int main(int argc, char **argv)
{
	char **words = argv; /* the calls are gathered in place; argv[argc] is NULL */
	int n = 0;

	for (int i = 1; i < argc; i++)
		if (!is_option(argv[i]))
			words[n++] = argv[i];
	words[n] = NULL;

	if (options.forking)
		become_a_daemon();
	if (options.after)
		sleep((unsigned)options.after);
	if (options.child)
		make_all_in_a_child(words);
	else
		make_all(words);
	if (options.notify)
		say_ready();
	while (options.child && options.every) {
		sleep((unsigned)options.every);
		make_all_in_a_child(words);
	}
	while (options.sleep || options.forking)
		pause();
	return options.exit;
}
