"""The OpenMP team: team.h, as Cython reads it. One module alone may use it, since it keeps what it knows."""

cdef extern from "team.h" nogil:
    void look_around "fastpw_look_around"() noexcept
    bint pool_is_lost "fastpw_pool_is_lost"() noexcept
    int count_cpus "fastpw_count_cpus"() noexcept
    int most_threads "fastpw_most_threads"(int cpus) noexcept
    # The threads that a call which may use `threads` of them starts with.
    int team "fastpw_team"(int threads) noexcept
    # What is left of such a team for the next region of a call.
    int team_still "fastpw_team_still"(int threads) noexcept
    # The leader says so before the region; every member asks for its number at the beginning of its share and says so
    # at the end; the leader, after the region.
    int team_begins "fastpw_team_begins"(int threads) noexcept
    int team_member "fastpw_team_member"() noexcept
    void share_done "fastpw_share_done"() noexcept
    void team_joined "fastpw_team_joined"(int threads) noexcept
    int omp_get_max_threads() noexcept
    int omp_get_num_procs() noexcept
    int omp_get_num_threads() noexcept
    int omp_get_thread_limit() noexcept
