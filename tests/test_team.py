"""Which regions make a leader work alone: team.h by itself, in a program that pretends to have a team."""

import shutil
import subprocess
from pathlib import Path

import pytest
from fresh import LIBGOMP

import fastpw

HEADER = Path(fastpw.__file__).parent / "core" / "team.h"
COMPILER = shutil.which("gcc")

pytestmark = pytest.mark.skipif(
    not (LIBGOMP and COMPILER and HEADER.exists()), reason="needs the sources, and GCC on Linux"
)

# Prints how many of TRIES leaders still have a team after so many regions, which took these microseconds
# before, in and after the leader's share. It sleeps in its share where another process has its CPU.
PROGRAM = r"""
#include <stdio.h>
#include <string.h>
#include "team.h"

enum { TRIES = 20 };

static void spin(int64_t microseconds)
{
    const uint64_t until = fastpw_nanoseconds() + 1000 * microseconds;
    while (fastpw_nanoseconds() < until) { }
}

static void put_aside(int64_t microseconds)
{
    const struct timespec time = { 0, 1000 * microseconds };
    nanosleep(&time, NULL);
}

static int threads_after(int regions, const int64_t *before_in_after, int aside)
{
    memset(&fastpw_me, 0, sizeof fastpw_me);
    fastpw_me.since = -1;
    fastpw_me.size = 2;
    fastpw_first_cpus = 2;
    for (int i = 0; i < regions; i++) {
        if (fastpw_team(2) == 1) return 1;
        fastpw_me.judged = 1;            /* (also where there is one CPU) */
        fastpw_team_begins(2);
        spin(before_in_after[0]);
        fastpw_team_member();
        if (aside) put_aside(before_in_after[1]);
        else spin(before_in_after[1]);
        fastpw_share_done();
        spin(before_in_after[2]);
        fastpw_team_joined(2);
    }
    return fastpw_team_still(2);
}

int main(int count, char **words)
{
    const int64_t times[] = { atoi(words[2]), atoi(words[3]), atoi(words[4]) };
    int teams = 0;
    fastpw_look_around();
    spin(2000);
    for (int i = 0; i < TRIES; i++) teams += threads_after(atoi(words[1]), times, count > 5) == 2;
    printf("%d\n", teams);
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    folder = tmp_path_factory.mktemp("team")
    (folder / "team.c").write_text(PROGRAM)
    flags = ["-D_GNU_SOURCE", "-fopenmp", "-w", f"-I{HEADER.parent}"]
    subprocess.run([COMPILER, *flags, folder / "team.c", "-o", folder / "team"], check=True)
    return folder / "team"


def teams(program, *words):
    return int(subprocess.check_output([program, *map(str, words)]))


@pytest.mark.parametrize(
    ("regions", "times"),
    [
        (40, (2, 50, 5)),
        (1, (0, 8000, 100)),  # long, but the leader ran all the time
        (20, (10, 100, 60)),  # a last task that took its time
        (1, (0, 50, 4000)),  # one slow join
    ],
)
def test_teams_that_save_time_go_on(program, regions, times):
    """On a machine that has other things to do, some of them do not."""
    assert teams(program, regions, *times) > 0


@pytest.mark.parametrize(
    ("times", "aside"),
    [
        ((0, 50, 4000), ()),  # a member that has no CPU joins late
        ((8000, 50, 0), ()),  # or left the last region late
        ((0, 4000, 50), ("aside",)),  # the leader has none in its own share
    ],
)
def test_teams_that_lose_time_work_alone(program, times, aside):
    assert teams(program, 6, *times, *aside) == 0
