/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Mode `process`: a process of Kamailio that runs `sip-authz serve` and starts it again when it ends. It
 * writes the lines of the program to Kamailio's log, and ends the program with Kamailio.
 */

#define _GNU_SOURCE

#include "supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../core/cfg/cfg.h"
#include "../../core/cfg/cfg_struct.h"
#include "../../core/dprint.h"
#include "../../core/mem/shm.h"
#include "../../core/pt.h"
#include "../../core/sr_module.h"

#include "settings.h"

#define MAX_ARGUMENTS 64
#define MAX_LINE 1024
/* Seconds between the end of the program and its next start: doubled up to the maximum, and set back after
 * a run that was longer than the maximum. */
#define MIN_PAUSE 1
#define MAX_PAUSE 16
/* Seconds that the program gets to end. */
#define END_TIME 3

static char address[sizeof("unix:") + sizeof(((struct sockaddr_un *)0)->sun_path)];
static char *arguments[MAX_ARGUMENTS + 1];
static pid_t *supervisor_pid; /* shared by all processes */

static volatile sig_atomic_t is_ending;
static volatile sig_atomic_t is_reload_wanted;

static char line[MAX_LINE];
static size_t line_length;

static int add_argument(char *argument)
{
    int count = 0;

    while (arguments[count])
        count++;
    if (count == MAX_ARGUMENTS) {
        LM_ERR("options: expected at most %d words\n", MAX_ARGUMENTS);
        return -1;
    }
    arguments[count] = argument;
    return 0;
}

static int set_arguments(void)
{
    char *word, *rest = NULL, *options = strdup(authz_settings.options);
    int failed = 0;

    if (!options) {
        LM_ERR("no memory for the options\n");
        return -1;
    }
    failed |= add_argument(authz_settings.program);
    failed |= add_argument("serve");
    if (authz_settings.config[0]) {
        failed |= add_argument("--config");
        failed |= add_argument(authz_settings.config);
    }
    failed |= add_argument("--decide");
    failed |= add_argument(address);
    for (word = strtok_r(options, " \t", &rest); word; word = strtok_r(NULL, " \t", &rest))
        failed |= add_argument(word);
    /* the arguments point into the options until Kamailio ends */
    return failed;
}

int supervisor_init(void)
{
    const char *path = authz_settings.socket;

    if (path[0] != '/' || strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
        LM_ERR("socket: expected an absolute path of at most %d bytes, found \"%s\"\n",
                (int)sizeof(((struct sockaddr_un *)0)->sun_path) - 1, path);
        return -1;
    }
    snprintf(address, sizeof(address), "unix:%s", path);
    if (set_arguments() < 0)
        return -1;
    supervisor_pid = shm_malloc(sizeof(*supervisor_pid));
    if (!supervisor_pid) {
        LM_ERR("no shared memory\n");
        return -1;
    }
    *supervisor_pid = 0;
    register_procs(1);
    cfg_register_child(1);
    return 0;
}

const char *supervisor_address(void)
{
    return address;
}

/* Makes the folder of the socket if it is missing, and checks that no other user can put another socket
 * into it: that one could accept every request. */
static int check_folder(void)
{
    char folder[sizeof(address)];
    struct stat status;

    snprintf(folder, sizeof(folder), "%s", authz_settings.socket);
    *strrchr(folder, '/') = 0;
    if (mkdir(folder, 0700) < 0 && errno != EEXIST) {
        LM_ERR("socket: cannot make the folder %s: %s\n", folder, strerror(errno));
        return -1;
    }
    if (lstat(folder, &status) < 0) {
        LM_ERR("socket: %s: %s\n", folder, strerror(errno));
        return -1;
    }
    if (!S_ISDIR(status.st_mode) || status.st_uid != geteuid() || (status.st_mode & (S_IWGRP | S_IWOTH))) {
        LM_ERR("socket: expected the folder %s to belong to the user of Kamailio (%u), and to be writable by "
               "this user only\n", folder, (unsigned int)geteuid());
        return -1;
    }
    return 0;
}

/* Becomes the program, or ends. */
static void become_program(int output, pid_t parent)
{
    sigset_t none;
    int null = open("/dev/null", O_RDWR);

    /* the program ends if its supervisor is killed; the check finds one that was killed before */
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || getppid() != parent || null < 0)
        _exit(127);
    if (dup2(null, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0)
        _exit(127);
    /* the sockets of Kamailio are not for the program */
    if (close_range(3, ~0U, 0) < 0)
        _exit(127);
    /* handlers end with exec, ignored signals do not */
    signal(SIGPIPE, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execvp(arguments[0], arguments);
    dprintf(2, "cannot run %s: %s\n", arguments[0], strerror(errno));
    _exit(127);
}

/* Starts the program. Returns its process, or -1. `output` reads its lines. */
static pid_t start_program(int *output)
{
    int ends[2];
    pid_t pid, parent = getpid();

    if (check_folder() < 0)
        return -1;
    if (pipe2(ends, O_CLOEXEC) < 0) {
        LM_ERR("pipe: %s\n", strerror(errno));
        return -1;
    }
    pid = fork();
    if (pid == 0)
        become_program(ends[1], parent);
    close(ends[1]);
    if (pid < 0) {
        LM_ERR("fork: %s\n", strerror(errno));
        close(ends[0]);
        return -1;
    }
    LM_NOTICE("%s starts as process %d\n", arguments[0], (int)pid);
    *output = ends[0];
    line_length = 0;
    return pid;
}

static void log_line(void)
{
    if (line_length)
        LM_NOTICE("%s: %.*s\n", arguments[0], (int)line_length, line);
    line_length = 0;
}

/* Logs what the program has written. Returns 0 at the end of its output. */
static int read_output(int output)
{
    char bytes[4096];
    ssize_t count = read(output, bytes, sizeof(bytes)), at;

    if (count < 0)
        return errno == EINTR || errno == EAGAIN;
    for (at = 0; at < count; at++) {
        if (bytes[at] == '\n' || line_length == MAX_LINE)
            log_line();
        if (bytes[at] != '\n')
            line[line_length++] = bytes[at];
    }
    if (count == 0)
        log_line();
    return count > 0;
}

static void on_signal(int signal)
{
    if (signal == SIGHUP)
        is_reload_wanted = 1;
    else if (signal != SIGCHLD)
        is_ending = 1;
}

/* The signals arrive only while the process waits. */
static void set_signals(sigset_t *waiting)
{
    static const int SIGNALS[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD};
    struct sigaction action;
    sigset_t blocked;
    size_t index;

    memset(&action, 0, sizeof(action));
    action.sa_handler = on_signal;
    sigemptyset(&action.sa_mask);
    sigemptyset(&blocked);
    for (index = 0; index < sizeof(SIGNALS) / sizeof(SIGNALS[0]); index++) {
        sigaction(SIGNALS[index], &action, NULL);
        sigaddset(&blocked, SIGNALS[index]);
    }
    sigprocmask(SIG_BLOCK, &blocked, waiting);
    for (index = 0; index < sizeof(SIGNALS) / sizeof(SIGNALS[0]); index++)
        sigdelset(waiting, SIGNALS[index]);
}

static time_t seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

static void log_end(int status)
{
    if (WIFSIGNALED(status))
        LM_ERR("%s was killed by signal %d; requests are refused until it runs again\n", arguments[0],
                WTERMSIG(status));
    else
        LM_ERR("%s ended with exit code %d; requests are refused until it runs again\n", arguments[0],
                WEXITSTATUS(status));
}

/* Ends the program, by force after some seconds. */
static void end_program(pid_t program)
{
    int tenths;

    kill(program, SIGTERM);
    for (tenths = 0; tenths < 10 * END_TIME; tenths++) {
        if (waitpid(program, NULL, WNOHANG) != 0)
            return;
        poll(NULL, 0, 100);
    }
    kill(program, SIGKILL);
    waitpid(program, NULL, 0);
}

static void supervise(const sigset_t *waiting)
{
    pid_t program = -1;
    int output = -1, status;
    time_t pause = MIN_PAUSE, started = 0, next_start = 0;

    while (!is_ending) {
        struct timespec timeout = {1, 0};
        struct pollfd wait = {.events = POLLIN};

        cfg_update();
        if (program < 0 && seconds() >= next_start) {
            started = seconds();
            program = start_program(&output);
            next_start = started + pause;
            pause = pause < MAX_PAUSE ? 2 * pause : MAX_PAUSE;
        }
        if (is_reload_wanted && program > 0)
            kill(program, SIGHUP);
        is_reload_wanted = 0;
        wait.fd = output;
        if (ppoll(&wait, 1, &timeout, waiting) > 0 && !read_output(output)) {
            close(output);
            output = -1;
        }
        /* the last lines first: they say why it ended */
        if (program > 0 && output < 0 && waitpid(program, &status, WNOHANG) == program) {
            log_end(status);
            if (seconds() - started > MAX_PAUSE)
                pause = MIN_PAUSE;
            next_start = seconds() + pause;
            program = -1;
        }
    }
    if (program > 0)
        end_program(program);
}

int supervisor_start(void)
{
    sigset_t waiting;
    pid_t parent = getpid(), pid = fork_process(PROC_NOCHLDINIT, "authz supervisor", 0);

    if (pid < 0) {
        LM_ERR("cannot fork the supervisor\n");
        return -1;
    }
    if (pid > 0) {
        *supervisor_pid = pid;
        return 0;
    }
    set_signals(&waiting);
    /* Kamailio ends its processes by SIGTERM; this covers a parent that was killed */
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || getppid() != parent || cfg_child_init() < 0)
        _exit(1);
    supervise(&waiting);
    _exit(0);
}

int supervisor_reload(void)
{
    if (!supervisor_pid || *supervisor_pid <= 0)
        return -1;
    return kill(*supervisor_pid, SIGHUP);
}
