#include <unistd.h>
__attribute__((noinline)) int give_away(const char *path) { volatile char room[40]; room[0] = 1; return chown(path, 1, 1) + room[0]; }
__attribute__((noinline)) static int run(int n) { return n ? run(n - 1) + give_away("x") : give_away("y"); }
int main(int argc, char **argv) { return run(argc); }
