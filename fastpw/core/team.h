/* The OpenMP team: how many threads a call starts with.
 *
 * libgomp keeps one pool of threads for every thread that starts a team.  A
 * forked child inherits the record of the pool but none of its threads, and
 * would wait for them for ever.  So a thread that forks ends its pool before,
 * where OpenMP's runtime is libgomp, and parent and child each start a new one;
 * with another runtime, a thread whose pool was lost works alone.  So does one
 * whose pool the system has no threads for, since libgomp would end the process:
 * before a team grows, its threads are asked for by way of trial.
 *
 * No team is larger than the CPUs that are left to a thread since the import.
 * And a thread works alone for a while where teams have cost it more time than
 * they saved: another process keeps a core busy, and the thread that spun there
 * has used up its time slice when the others wait for it.
 *
 * A team that shares out tasks runs in a plain parallel region, which starts sooner
 * than a prange.  Before it the leader says `team_begins`, and `team_joined` after it;
 * in it, every member asks for its number, `team_member`, as it begins its share,
 * and says `share_done`.  Regions of which nobody says this are not judged.
 */
#ifndef FASTPW_TEAM_H
#define FASTPW_TEAM_H

#include <limits.h>
#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

/* What a thread knows that leads teams.  Times are in ticks. */
typedef struct {
    int since;                   /* fastpw_forks when it led its first team; -1: it has no pool */
    int size;                    /* of its pool */
    int cpus, most;              /* that it may run on, and the most threads because of that */
    uint64_t counted, per_ms;    /* when the CPUs were counted; ticks in a millisecond */
    int judged;                  /* whether the present team can tell how busy the CPUs are */
    int stopped;                 /* whether the present call goes on alone */
    uint64_t began;              /* when it began its region */
    uint64_t started, done;      /* when this thread's share of it was begun, and done */
    int64_t saved;               /* by teams, against working alone */
    uint64_t alone_since, alone; /* when it began to work alone, and for how long */
    uint64_t tried;              /* how long teams have worked since */
    uint64_t looked, ran;        /* when it last looked how long it had run, and how long, in nanoseconds */
    int64_t waited;              /* for others since */
} fastpw_leader;

static __thread fastpw_leader fastpw_me = { .since = -1, .size = 1 };

/* ---- time: steps of a clock that is read in a few nanoseconds (clock_gettime takes three times as long) ---- */

static inline uint64_t fastpw_nanoseconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * UINT64_C(1000000000) + time.tv_nsec;
}

static inline uint64_t fastpw_ticks(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t ticks;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
#else
    return fastpw_nanoseconds();
#endif
}

static uint64_t fastpw_first_tick, fastpw_first_nanosecond;     /* at the import */

static uint64_t fastpw_ticks_per_ms(uint64_t now)
{
    /* (in integers: the caller's floating-point state may trap) */
    const unsigned __int128 ticks = now - fastpw_first_tick;
    return (uint64_t)(ticks * 1000000 / (1 + fastpw_nanoseconds() - fastpw_first_nanosecond)) + 1;
}

/* ---- CPUs ---- */

static int fastpw_first_cpus;    /* at the import */

/* That the calling thread may run on; INT_MAX: nobody says, or OpenMP binds each thread to some of them. */
static int fastpw_count_cpus(void)
{
#ifdef __linux__
    cpu_set_t cpus[8];
    if (omp_get_proc_bind() == omp_proc_bind_false && !sched_getaffinity(0, sizeof cpus, cpus))
        return CPU_COUNT_S(sizeof cpus, cpus);
#endif
    return INT_MAX;
}

/* Who asks may have more threads than CPUs, but not when they have become fewer. */
static int fastpw_most_threads(int cpus) { return cpus < fastpw_first_cpus ? cpus : INT_MAX; }

/* ---- forks ---- */

static int fastpw_forks;         /* how many lie between the first process and this */

static int fastpw_pool_is_lost(void) { return fastpw_me.since >= 0 && fastpw_me.since != fastpw_forks; }
static void fastpw_count_fork(void) { fastpw_forks++; }

/* LLVM's runtime, which looks after forks itself and holds its locks meanwhile, may stand in for libgomp. */
extern int kmp_get_blocktime(void) __attribute__((weak, visibility("default")));

static void fastpw_end_pool(void)
{
#if defined(__linux__) && !defined(__clang__)
    if (!fastpw_pool_is_lost() && !kmp_get_blocktime && !omp_pause_resource_all(omp_pause_hard)) {
        fastpw_me.since = -1;
        fastpw_me.size = 1;
        fastpw_me.alone = 0;
    }
#endif
}

static void fastpw_look_around(void)
{
    fastpw_first_tick = fastpw_ticks();
    fastpw_first_nanosecond = fastpw_nanoseconds();
    fastpw_first_cpus = fastpw_count_cpus();
    pthread_atfork(fastpw_end_pool, NULL, fastpw_count_fork);
}

static void *fastpw_pass_gate(void *gate)
{
    pthread_mutex_lock((pthread_mutex_t *)gate);
    pthread_mutex_unlock((pthread_mutex_t *)gate);
    return NULL;
}

/* Whether the system grants this many more threads at once. */
static int fastpw_threads_granted(int threads)
{
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    pthread_t *thread = (pthread_t *)malloc(threads * sizeof *thread);
    int started = 0;
    if (!thread) return 0;
    pthread_mutex_lock(&gate);
    while (started < threads && !pthread_create(&thread[started], NULL, fastpw_pass_gate, &gate)) started++;
    pthread_mutex_unlock(&gate);
    for (int i = 0; i < started; i++) pthread_join(thread[i], NULL);
    free(thread);
    return started == threads;
}

/* ---- teams ---- */

enum {
    /* Milliseconds.  What teams saved counts up to MOST: a slow join now and then is let pass, as a quiet machine has
       some.  After a pause SOME is granted, for the thread that has to wake up. */
    FASTPW_MOST_SAVED = 32, FASTPW_SOME_SAVED = 2, FASTPW_LONGEST_PAUSE = 512,
    /* What a join lost that took a quarter of a millisecond too long counts four times: not one call in a hundred
       should be slow. */
    FASTPW_SLOW = 4, FASTPW_LOSS = 4,
    /* A first pause, in times of the loss that it follows. */
    FASTPW_PAUSE = 8,
    /* How often a leader looks whether the system has put it aside, which happens for no less than one of them. */
    FASTPW_LOOK = 2, FASTPW_ASIDE = 1
};

static void fastpw_work_alone(fastpw_leader *me, uint64_t now, uint64_t lost)
{
    const uint64_t longest = FASTPW_LONGEST_PAUSE * me->per_ms, last = me->alone;
    me->alone = FASTPW_PAUSE * lost;
    /* Teams were slow again before they had worked for as long as the last pause took. */
    if (me->tried < last && me->alone < 2 * last) me->alone = 2 * last;
    me->tried = 0;
    if (me->alone > longest) me->alone = longest;
    me->alone_since = now;
    me->stopped = 1;
    me->saved = FASTPW_SOME_SAVED * me->per_ms;
}

static void fastpw_count_again(fastpw_leader *me, uint64_t now)
{
    const int first = !me->counted;
    me->cpus = fastpw_count_cpus();
    me->most = fastpw_most_threads(me->cpus);
    me->per_ms = fastpw_ticks_per_ms(now);
    me->counted = now;
    if (first) me->saved = FASTPW_MOST_SAVED * me->per_ms;
}

static int fastpw_team(int threads)
{
    fastpw_leader *me = &fastpw_me;
    uint64_t now;
    if (threads <= 1 || fastpw_pool_is_lost() || omp_in_parallel()) return 1;
    now = fastpw_ticks();
    if (now - me->counted >= me->per_ms) fastpw_count_again(me, now);
    if (threads > me->most) threads = me->most;
    if (threads == 1) return 1;
    /* More threads than CPUs wait for each other: they were asked for.  And a new thread takes its time. */
    me->judged = threads <= me->cpus;
    if (me->judged && now - me->alone_since < me->alone) return 1;
    me->judged &= threads <= me->size;
    if (threads > me->size && !fastpw_threads_granted(threads - 1)) return 1;
    me->since = fastpw_forks;
    me->size = threads;
    me->stopped = 0;
    return threads;
}

/* How long the calling thread has run on a CPU. */
static uint64_t fastpw_nanoseconds_run(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return time.tv_sec * UINT64_C(1000000000) + time.tv_nsec;
}

static void fastpw_look(fastpw_leader *me, uint64_t now, uint64_t ran)
{
    me->looked = now;
    me->ran = ran;
    me->waited = 0;
}

/* How long the leader neither ran nor waited for others since it last looked: another process had its CPU. */
static int64_t fastpw_aside(fastpw_leader *me, uint64_t now)
{
    const uint64_t ran = fastpw_nanoseconds_run();
    const int64_t ticks = (int64_t)(ran - me->ran) / 1000 * (int64_t)me->per_ms / 1000;
    const int64_t aside = (int64_t)(now - me->looked) - ticks - me->waited;
    fastpw_look(me, now, ran);
    return aside > FASTPW_ASIDE * (int64_t)me->per_ms ? aside : 0;
}

/* A team whose last region was too slow takes no part in the next one of the same call. */
static int fastpw_team_still(int threads) { return fastpw_me.stopped ? 1 : threads; }

/* What the leader does between regions, and may wait for there, is not judged. */
static int fastpw_team_begins(int threads)
{
    fastpw_leader *me = &fastpw_me;
    const uint64_t now = fastpw_ticks();
    if (me->judged && now - me->looked >= me->per_ms) fastpw_look(me, now, fastpw_nanoseconds_run());
    me->began = now;
    return threads;
}

static int fastpw_team_member(void)
{
    fastpw_me.started = fastpw_ticks();
    return omp_get_thread_num();
}

static void fastpw_share_done(void) { fastpw_me.done = fastpw_ticks(); }

/* Time is lost before the leader's share too: libgomp begins no region before all threads have left the last one, and
   one that has no CPU leaves it late. */
static void fastpw_team_joined(int threads)
{
    fastpw_leader *me = &fastpw_me;
    const uint64_t now = fastpw_ticks();
    const int64_t most = FASTPW_MOST_SAVED * me->per_ms;
    int64_t own = me->done - me->started, lost = now - me->began - own, saved;
    if (!me->judged) return;
    me->waited += lost;
    if (now - me->looked >= FASTPW_LOOK * me->per_ms) {
        const int64_t aside = fastpw_aside(me, now);
        own = own > aside ? own - aside : 0;
        lost += aside;
    }
    saved = (threads - 1) * own - lost;
    me->tried += own + lost;
    me->saved += -saved * FASTPW_SLOW > (int64_t)me->per_ms ? FASTPW_LOSS * saved : saved;
    if (me->saved > most) me->saved = most;
    if (me->saved < 0) fastpw_work_alone(me, now, lost);
}

#endif
