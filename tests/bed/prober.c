/* prober - makes every system call there may be, each in a process of its own, and says what came of it.
 *
 *   prober [i386]    all numbers below END, with i386 through int $0x80
 *   prober memory    what memory can be made executable
 *
 * All arguments are -1: no file descriptor, address, process or set of flags is valid, so that nothing happens. What
 * would harm all the same, or tell nothing, is in the tables below, each with the reason. One line for each number:
 *
 *   NUMBER SIGNAL CODE     the signal that ended the process, or 0; what it exited with: the errno, or RAN
 *
 * It has no C library, which would make calls of its own: only clone, wait4, alarm, write and exit_group.
 */
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>

enum { END = 640, RAN = 200, SIGALRM = 14, SIGCHLD = 17 };

struct left_out {
	long number;
	const char *reason;
};

static const struct left_out of_x86_64[] = {
	{ SYS_vfork, "the child returns on its parent's stack" },
	{ SYS_vhangup, "hangs up the terminal" },
	{ SYS_sync, "waits for all disks of the machine" },
	{ SYS_msgget, "makes a message queue, which stays" },
	{ 335, "uretprobe: the kernel asks no filter (seccomp_uprobe_exception() in kernel/seccomp.c)" },
	{ 336, "uprobe: the same" },
	{ -1, NULL },
};
static const struct left_out of_i386[] = {
	{ 190, "vfork: the child returns on its parent's stack" },
	{ 111, "vhangup: hangs up the terminal" },
	{ 36, "sync: waits for all disks of the machine" },
	{ 399, "msgget: makes a message queue, which stays" },
	{ 72, "sigsuspend: waits for ever, with all signals blocked" },
	{ -1, NULL },
};

static long call(long number, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

static long call_i386(long number)
{
	long result;

	__asm__ volatile("push %%rbp; mov $-1, %%ebp; int $0x80; pop %%rbp"
			 : "=a"(result)
			 : "a"(number), "b"(-1), "c"(-1), "d"(-1), "S"(-1), "D"(-1)
			 : "r8", "r9", "r10", "r11", "memory", "cc");
	return (int)result;
}

static void say(long number, long signal, long code)
{
	const long words[3] = { number, signal, code };
	char line[80];
	size_t end = 0;

	for (int i = 0; i < 3; i++) {
		char digits[20];
		int n = 0;

		for (long rest = words[i]; n == 0 || rest; rest /= 10)
			digits[n++] = (char)('0' + rest % 10);
		while (n)
			line[end++] = digits[--n];
		line[end++] = i < 2 ? ' ' : '\n';
	}
	call(SYS_write, 1, (long)line, (long)end, 0, 0, 0);
}

static long code_of(long result)
{
	return result < 0 && result >= -133 ? -result : RAN;
}

static int status_of(long number, int i386)
{
	int status = 0;
	long pid = call(SYS_clone, SIGCHLD, 0, 0, 0, 0, 0);

	if (pid == 0) {
		call(SYS_alarm, 1, 0, 0, 0, 0, 0);
		long result = i386 ? call_i386(number) : call(number, -1, -1, -1, -1, -1, -1);
		call(SYS_exit_group, code_of(result), 0, 0, 0, 0, 0);
	}
	while (call(SYS_wait4, pid, (long)&status, 0, 0, 0, 0) != pid)
		;
	return status;
}

static void probe(long number, int i386)
{
	int status = status_of(number, i386);

	/* a call that waits, or a busy machine, on which a second passed before the call was made */
	for (int tries = 1; (status & 0x7f) == SIGALRM && tries < 3; tries++)
		status = status_of(number, i386);
	say(number, status & 0x7f, status >> 8 & 0xff);
}

/* Lines with the place in this list instead of the number. */
static void try_memory(void)
{
	enum { SIZE = 4096, RW = PROT_READ | PROT_WRITE, RX = PROT_READ | PROT_EXEC, RWX = RW | PROT_EXEC };
	enum { ANON = MAP_PRIVATE | MAP_ANONYMOUS, IPC_PRIVATE = 0, IPC_RMID = 0 };
	enum { SHM_EXEC = 0100000, SHM_RDONLY = 010000 };
	long rw = call(SYS_mmap, 0, SIZE, RW, ANON, -1, 0);
	long rx = call(SYS_mmap, 0, SIZE, RX, ANON, -1, 0);
	long shared = call(SYS_shmget, IPC_PRIVATE, SIZE, 01700, 0, 0, 0);
	int n = 0;

	say(n++, 0, code_of(rw));
	say(n++, 0, code_of(rx));
	say(n++, 0, code_of(call(SYS_mmap, 0, SIZE, RWX, ANON, -1, 0)));
	say(n++, 0, code_of(call(SYS_mprotect, rw, SIZE, RX, 0, 0, 0)));
	say(n++, 0, code_of(call(SYS_mprotect, rw, SIZE, PROT_READ, 0, 0, 0)));
	say(n++, 0, code_of(call(SYS_pkey_mprotect, rw, SIZE, RX, -1, 0, 0)));
	say(n++, 0, code_of(call(SYS_shmat, shared, 0, 0, 0, 0, 0)));
	say(n++, 0, code_of(call(SYS_shmat, shared, 0, SHM_EXEC, 0, 0, 0)));
	say(n++, 0, code_of(call(SYS_shmat, shared, 0, SHM_EXEC | SHM_RDONLY, 0, 0, 0)));
	call(SYS_shmctl, shared, IPC_RMID, 0, 0, 0, 0);
}

__attribute__((noreturn, used)) static void begin(const long *stack)
{
	const char *word = stack[0] > 1 ? (const char *)stack[2] : "";

	if (*word == 'm')
		try_memory();
	for (long number = 0; *word != 'm' && number < END; number++) {
		const struct left_out *it = *word == 'i' ? of_i386 : of_x86_64;

		while (it->reason && it->number != number)
			it++;
		if (!it->reason)
			probe(number, *word == 'i');
	}
	for (;;)
		call(SYS_exit_group, 0, 0, 0, 0, 0, 0);
}

__asm__(".globl _start\n_start:\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall begin\n");
