/* installed-filters - prints the seccomp filters of processes, for tests with a real systemd.
 *
 *   installed-filters PID...
 *
 * For each process a line "process PID", then for each filter, the first installed first, a line "filter" and its
 * instructions, one a line: code, jump if true, jump if false, constant. The processes go on afterwards.
 *
 * It needs CAP_SYS_ADMIN, a kernel with CONFIG_CHECKPOINT_RESTORE, and no filter of its own
 * (seccomp_get_filter() in kernel/seccomp.c).
 */
#include <errno.h>
#include <linux/filter.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

static void die(const char *what, const char *pid)
{
	fprintf(stderr, "installed-filters: %s %s: %s\n", what, pid, strerror(errno));
	exit(1);
}

static void print_filters(const char *word)
{
	static struct sock_filter program[BPF_MAXINSNS];
	pid_t pid = atoi(word);
	int status;

	if (ptrace(PTRACE_SEIZE, pid, 0, 0) < 0 || ptrace(PTRACE_INTERRUPT, pid, 0, 0) < 0)
		die("cannot stop", word);
	if (waitpid(pid, &status, __WALL) < 0 || !WIFSTOPPED(status))
		die("did not stop:", word);
	printf("process %d\n", (int)pid);
	for (long i = 0;; i++) {
		long length = ptrace(PTRACE_SECCOMP_GET_FILTER, pid, i, program);

		if (length < 0 && (errno == ENOENT || errno == EINVAL)) /* no more, or none at all */
			break;
		if (length < 0)
			die("cannot read the filters of", word);
		puts("filter");
		for (long n = 0; n < length; n++)
			printf("%u %u %u %u\n", program[n].code, program[n].jt, program[n].jf, program[n].k);
	}
	ptrace(PTRACE_DETACH, pid, 0, 0);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		print_filters(argv[i]);
	return 0;
}
