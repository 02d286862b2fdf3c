"""Tasks for a team: each member has its own, and takes those of others when it is done.

What a member computes is the same from call to call, so what it read and wrote is in its own caches when
it comes again (bench/constants.md).  Taking over is for the member whose core is lent to another process:
nobody waits for more than its last task.
"""

cdef extern from *:
    """
    #include <stddef.h>

    /* One member's tasks, from `next` on.  A cache line of its own: only who is done touches another's. */
    typedef struct {
        _Alignas(64) ptrdiff_t next;
        ptrdiff_t end;
    } fastpw_share;

    static void fastpw_share_out(fastpw_share *shares, ptrdiff_t tasks, int members)
    {
        for (int i = 0; i < members; i++) {
            shares[i].next = tasks * i / members;
            shares[i].end = tasks * (i + 1) / members;
        }
    }

    /* A task that nobody has had yet, or -1. */
    static ptrdiff_t fastpw_next_task(fastpw_share *shares, int member, int members)
    {
        for (int i = 0; i < members; i++) {
            fastpw_share *share = &shares[(member + i) % members];
            const ptrdiff_t task = __atomic_fetch_add(&share->next, 1, __ATOMIC_RELAXED);
            if (task < share->end) return task;
        }
        return -1;
    }

    /* How many came before; who is told sees what those wrote. */
    static inline int fastpw_arrive(int *arrived) { return __atomic_fetch_add(arrived, 1, __ATOMIC_ACQ_REL); }

    /* What went past the caches is there for everyone (it is no part of the order of other stores). */
    static inline void fastpw_all_stored(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
    """
    ctypedef struct Share "fastpw_share":
        pass
    void share_out "fastpw_share_out"(Share *shares, Py_ssize_t tasks, int members) noexcept nogil
    int arrive "fastpw_arrive"(int *arrived) noexcept nogil
    void all_stored "fastpw_all_stored"() noexcept nogil
    Py_ssize_t next_task "fastpw_next_task"(Share *shares, int member, int members) noexcept nogil
