"""The OpenMP team, and what is left of it after a fork.

libgomp keeps one pool of threads for every thread that starts a team.  A
forked child inherits the record of the pool but none of its threads, and
would wait for them for ever: a thread whose pool was lost works alone.
"""

cdef extern from *:
    """
    #include <omp.h>
    #include <pthread.h>

    static int fastpw_forks;                       /* how many forks lie between the first process and this */
    static __thread int fastpw_team_since = -1;    /* fastpw_forks when this thread first led a team */

    static void fastpw_count_fork(void) { fastpw_forks++; }
    static void fastpw_watch_forks(void) { pthread_atfork(NULL, NULL, fastpw_count_fork); }
    static int fastpw_pool_is_lost(void) { return fastpw_team_since >= 0 && fastpw_team_since != fastpw_forks; }
    static int fastpw_team(int threads)
    {
        if (threads <= 1 || fastpw_pool_is_lost() || omp_in_parallel()) return 1;
        fastpw_team_since = fastpw_forks;
        return threads;
    }
    """
    void watch_forks "fastpw_watch_forks"() noexcept nogil
    bint pool_is_lost "fastpw_pool_is_lost"() noexcept nogil
    # The threads that a call which may use `threads` of them starts with.
    int team "fastpw_team"(int threads) noexcept nogil
    int omp_get_max_threads() noexcept nogil
    int omp_get_thread_num() noexcept nogil
