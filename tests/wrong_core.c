/* A TEST DOUBLE of a defective core, by LD_PRELOAD: one function of the C library goes wrong on one core.

   Compiled with -DFUNCTION=name. CORE: on which core; FAULT: flip (bit BIT of each result, or of each EVERYth), hang or
   kill; ONCE: a file, which the first process that gets there removes: only that process goes wrong. Processes that are
   not pinned are spared, so that a test knows which one goes wrong. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEXT_(name) #name
#define TEXT(name) TEXT_(name)

static int fault_now(void)
{
    static int decided, once;
    const char *core = getenv("CORE"), *file = getenv("ONCE");
    const int error = errno; /* the caller looks at it */
    cpu_set_t allowed;
    if (!core || sched_getcpu() != atoi(core))
        return 0;
    if (sched_getaffinity(0, sizeof allowed, &allowed) || CPU_COUNT(&allowed) > 1)
        return 0;
    if (!decided) {
        decided = 1;
        once = file ? unlink(file) == 0 : 1;
    }
    errno = error;
    return once;
}

double FUNCTION(double x)
{
    static double (*real)(double);
    static unsigned long calls;
    const char *fault = getenv("FAULT"), *bit = getenv("BIT"), *every = getenv("EVERY");
    if (!real)
        real = (double (*)(double))dlsym(RTLD_NEXT, TEXT(FUNCTION));
    double result = real(x);
    if (fault && fault_now() && ++calls % (every ? atol(every) : 1) == 0) {
        uint64_t word;
        if (!strcmp(fault, "hang"))
            for (;;)
                ;
        if (!strcmp(fault, "kill"))
            raise(SIGKILL);
        memcpy(&word, &result, 8);
        word ^= (uint64_t)1 << (bit ? atoi(bit) : 0);
        memcpy(&result, &word, 8);
    }
    return result;
}
