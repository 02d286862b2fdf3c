"""The OpenMP team, and what is left of it after a fork.

libgomp keeps one pool of threads for every thread that starts a team.  A
forked child inherits the record of the pool but none of its threads, and
would wait for them for ever: a thread whose pool was lost works alone.  So
does one whose pool the system has no threads for, since libgomp would end the
process: before a team grows, its threads are asked for by way of trial.

A team that shares out tasks runs in a plain parallel region, which starts sooner
than a prange.
"""

cdef extern from *:
    """
    #include <omp.h>
    #include <pthread.h>
    #include <stdlib.h>

    static int fastpw_forks;                       /* how many forks lie between the first process and this */
    static __thread int fastpw_team_since = -1;    /* fastpw_forks when this thread first led a team */
    static __thread int fastpw_team_size = 1;      /* of the team that it led last */

    static void fastpw_count_fork(void) { fastpw_forks++; }
    static void fastpw_watch_forks(void) { pthread_atfork(NULL, NULL, fastpw_count_fork); }
    static int fastpw_pool_is_lost(void) { return fastpw_team_since >= 0 && fastpw_team_since != fastpw_forks; }

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

    static int fastpw_team(int threads)
    {
        if (threads <= 1 || fastpw_pool_is_lost() || omp_in_parallel()) return 1;
        if (threads > fastpw_team_size && !fastpw_threads_granted(threads - 1)) return 1;
        fastpw_team_since = fastpw_forks;
        fastpw_team_size = threads;
        return threads;
    }
    """
    void watch_forks "fastpw_watch_forks"() noexcept nogil
    bint pool_is_lost "fastpw_pool_is_lost"() noexcept nogil
    # The threads that a call which may use `threads` of them starts with.
    int team "fastpw_team"(int threads) noexcept nogil
    int omp_get_max_threads() noexcept nogil
    int omp_get_num_threads() noexcept nogil
