/* SPDX-License-Identifier: Apache-2.0 */
/* posix_spawn and a pipe; poll() wakes up now and then to see whether the user wants to stop. */
#include "hub/child.h"

#include "base/compiler.h"
#include "base/status.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { POLL_MS = 200 };

void eff_signals_hold(EffHeldSignals *signals)
{
    static const int wanted[] = {SIGINT, SIGTERM, SIGHUP};
    sigset_t before;
    pthread_sigmask(SIG_BLOCK, NULL, &before);
    sigemptyset(&signals->held);
    for (size_t i = 0; i < EFF_COUNT(wanted); i++) {
        struct sigaction action;
        /* Linux makes a blocked signal pending even when it is ignored, as SIGHUP is under nohup. */
        if (sigaction(wanted[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN &&
            sigismember(&before, wanted[i]) == 0)
            sigaddset(&signals->held, wanted[i]);
    }
    pthread_sigmask(SIG_BLOCK, &signals->held, &signals->before);
}

bool eff_signals_pending(const EffHeldSignals *signals)
{
    sigset_t pending;
    sigemptyset(&pending);
    sigpending(&pending);
    static const int wanted[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < EFF_COUNT(wanted); i++)
        if (sigismember(&signals->held, wanted[i]) == 1 && sigismember(&pending, wanted[i]) == 1)
            return true;
    return false;
}

void eff_signals_release(const EffHeldSignals *signals)
{
    pthread_sigmask(SIG_SETMASK, &signals->before, NULL);
}

/* Append to the tail; the oldest bytes go. A NUL byte would hide what follows it. */
static void keep(EffChild *child, size_t *used, char *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (data[i] == '\0')
            data[i] = ' ';
    const size_t room = sizeof child->tail - 1;
    if (*used + size > room) {
        const size_t drop = *used + size - room;
        memmove(child->tail, child->tail + drop, *used - drop);
        *used -= drop;
    }
    memcpy(child->tail + *used, data, size);
    *used += size;
    child->tail[*used] = '\0';
}

/* Read until the child closes its end, or the user interrupts. */
static bool listen_to(EffChild *child, int fd, const EffHeldSignals *signals)
{
    size_t used = 0;
    for (;;) {
        if (eff_signals_pending(signals))
            return false;
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        const int ready = poll(&wait, 1, POLL_MS);
        if (ready == 0 || (ready < 0 && errno == EINTR))
            continue;
        char data[1024];
        const ssize_t n = read(fd, data, sizeof data);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return true;
        keep(child, &used, data, (size_t)n);
    }
}

/* posix_spawnp() with stdin from nowhere, stdout and stderr into `fd`, and the signal mask of before. */
static int spawn(pid_t *pid, int fd, char *const argv[], char *const envp[], const EffHeldSignals *signals)
{
    posix_spawn_file_actions_t actions;
    int err = posix_spawn_file_actions_init(&actions);
    if (err != 0)
        return err;
    posix_spawnattr_t attr;
    err = posix_spawnattr_init(&attr);
    if (err == 0) {
        if ((err = posix_spawnattr_setsigmask(&attr, &signals->before)) == 0 &&
            (err = posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK)) == 0 &&
            (err = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)) == 0 &&
            (err = posix_spawn_file_actions_adddup2(&actions, fd, STDOUT_FILENO)) == 0 &&
            (err = posix_spawn_file_actions_adddup2(&actions, fd, STDERR_FILENO)) == 0)
            err = posix_spawnp(pid, argv[0], &actions, &attr, argv, envp);
        posix_spawnattr_destroy(&attr);
    }
    posix_spawn_file_actions_destroy(&actions);
    return err;
}

EffStatus eff_child_run(EffChild *out, char *const argv[], char *const envp[], const EffHeldSignals *signals)
{
    out->exit_code = 0;
    out->tail[0] = '\0';
    int ends[2];
    if (pipe(ends) != 0)
        return eff_fail_errno(errno, argv[0], "cannot open a pipe to it");
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    fcntl(ends[1], F_SETFD, FD_CLOEXEC);
    pid_t pid;
    const int err = spawn(&pid, ends[1], argv, envp, signals);
    close(ends[1]);
    if (err != 0) {
        close(ends[0]);
        out->exit_code = EFF_CHILD_NOT_FOUND;
        return err == ENOENT ? EFF_OK : eff_fail_errno(err, argv[0], "cannot start it");
    }
    const bool finished = listen_to(out, ends[0], signals);
    close(ends[0]);
    if (!finished)
        kill(pid, SIGTERM);
    int how = 0;
    while (waitpid(pid, &how, 0) < 0)
        if (errno != EINTR)
            return eff_fail_errno(errno, argv[0], "cannot wait for it");
    /* Ctrl-C ends the child as well, and its end may be seen first. */
    if (!finished || eff_signals_pending(signals))
        return eff_fail(EFF_ERR_INTERRUPTED, "%s: interrupted; nothing has been changed", argv[0]);
    out->exit_code = WIFEXITED(how) ? WEXITSTATUS(how) : 128 + WTERMSIG(how);
    return EFF_OK;
}
