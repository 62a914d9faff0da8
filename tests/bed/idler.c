/* idler - a program that makes no system call at all, so that no filter can kill it. Only a signal ends it. */
__attribute__((noreturn)) void _start(void)
{
	for (;;)
		__asm__ volatile("");
}
