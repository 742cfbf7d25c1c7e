/* The client of a service against the program `sip-authz serve`, which is killed, stopped and restarted.
 * Arguments: the program, and an empty folder. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>

#include "common.h"

/* Long enough for each machine: a test that waits so long has failed. */
enum { PATIENCE_S = 60 };
#define TOKEN "0123456789abcdef0123456789abcdef"

static const char *program, *folder;
static char config[900], unix_place[900];

/* A server with its output in a file. */
typedef struct server {
    pid_t process;
    char output[900];
} server;

static void start(server *server, const char *place) {
    static int number;
    snprintf(server->output, sizeof server->output, "%s/output-%d", folder, number++);
    server->process = fork();
    CHECK(server->process >= 0);
    if (server->process == 0) {
        int output = open(server->output, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        if (output < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0)
            _exit(126);
        setenv("SIP_AUTHZ_DECIDE_TOKEN", TOKEN, 1);
        execl(program, program, "serve", "--config", config, "--on-accept", "ok", "--sip",
              "127.0.0.1:0", "--api", "127.0.0.1:0", "--decide", place, (char *)NULL);
        _exit(127);
    }
}

static void wait_a_little(void) {
    const struct timespec pause = {0, 20000000};
    nanosleep(&pause, NULL);
}

static void stop(server *server, int signal) {
    int status;
    CHECK(kill(server->process, signal) == 0);
    CHECK(waitpid(server->process, &status, 0) == server->process);
}

static sip_authz *open_service(const char *place, uint32_t timeout_ms, const char *token) {
    sip_authz *handle = NULL;
    char error[200] = "?";
    sip_authz_options options = {sizeof options, timeout_ms, token};
    sip_authz_result result = sip_authz_open(place, &options, &handle, error, sizeof error);
    if (result != SIP_AUTHZ_OK)
        fprintf(stderr, "%s: %s\n", place, error);
    CHECK(result == SIP_AUTHZ_OK && handle && error[0] == 0);
    return handle;
}

/* Decides until the service is reached. Before that each answer is a refusal. */
static void wait_for_service(sip_authz *handle) {
    time_t end = time(NULL) + PATIENCE_S;
    call call;
    call_to(&call, HOST_BY_ADDRESS, "wait", "");
    for (;;) {
        sip_authz_answer answer = answer_of();
        sip_authz_result result = sip_authz_decide(handle, &call.request, &answer);
        int outcome = answer.outcome;
        sip_authz_answer_clear(&answer);
        CHECK((result == SIP_AUTHZ_OK) == (outcome == SIP_AUTHZ_ACCEPT));
        if (result == SIP_AUTHZ_OK)
            return;
        CHECK(result == SIP_AUTHZ_UNREACHABLE && time(NULL) < end);
        wait_a_little();
    }
}

static void unsupported(sip_authz *handle) {
    call call;
    char *text, error[100] = "";
    call_to(&call, HOST_BY_ADDRESS, "unsupported", "");
    const sip_authz_result expected = SIP_AUTHZ_UNSUPPORTED;
    CHECK(sip_authz_replace(handle, CONFIG, 1, error, sizeof error) == expected && error[0]);
    CHECK(sip_authz_apply(handle, NULL, 0, NULL, 0, NULL, 0) == expected);
    CHECK(sip_authz_explain(handle, &call.request, &text) == expected && !text);
}

typedef struct worker {
    pthread_t thread;
    sip_authz *handle;
    int number;
} worker;

static void *work(void *argument) {
    worker *worker = argument;
    char name[64];
    for (int round = 0; round < 20; round++) {
        snprintf(name, sizeof name, "worker-%d-%d", worker->number, round);
        check_digest(worker->handle, name);
    }
    return NULL;
}

static void threads(sip_authz *handle) {
    enum { WORKERS = 20 };
    worker workers[WORKERS];
    for (int i = 0; i < WORKERS; i++) {
        workers[i].handle = handle;
        workers[i].number = i;
        CHECK(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
    }
    for (int i = 0; i < WORKERS; i++)
        CHECK(pthread_join(workers[i].thread, NULL) == 0);
}

/* A child sends nothing on the connections of its parent, also when it frees the handle. */
static void forks(sip_authz *handle) {
    char line[1024];
    call call;
    challenge(handle, "forks", PASSWORD, line);
    call_to(&call, HOST_BY_DIGEST, "forks-2", line);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(outcome_of(handle, &call, SIP_AUTHZ_OTHER_PROCESS) == SIP_AUTHZ_UNDECIDED);
        sip_authz_free(handle);
        /* a handle of its own works */
        handle = open_service(unix_place, PATIENCE_S * 1000, NULL);
        check_digest(handle, "child");
        sip_authz_free(handle);
        end_child();
    }
    wait_for_child(child);
    CHECK(outcome_of(handle, &call, SIP_AUTHZ_OK) == SIP_AUTHZ_ACCEPT);
}

/* The service is stopped within a request: its late answer is that of no later request. */
static void late_answers(server *server) {
    sip_authz *handle = open_service(unix_place, 500, NULL);
    call right, wrong;
    call_to(&right, HOST_BY_ADDRESS, "late", "");
    call_to(&wrong, HOST_BY_ADDRESS, "late-2", "");
    wrong.ip[0] = 10;
    /* a request that is answered, so there is a connection */
    wait_for_service(handle);
    /* all its threads have stopped once it is waited for */
    int status;
    CHECK(kill(server->process, SIGSTOP) == 0);
    CHECK(waitpid(server->process, &status, WUNTRACED) == server->process && WIFSTOPPED(status));
    CHECK(outcome_of(handle, &right, SIP_AUTHZ_TIMEOUT) == SIP_AUTHZ_UNDECIDED);
    CHECK(kill(server->process, SIGCONT) == 0);
    time_t end = time(NULL) + PATIENCE_S;
    int refused = 0;
    while (refused < 10) {
        sip_authz_answer answer = answer_of();
        sip_authz_result result = sip_authz_decide(handle, &wrong.request, &answer);
        CHECK(answer.outcome != SIP_AUTHZ_ACCEPT);
        /* a slow machine may take longer */
        CHECK(result == SIP_AUTHZ_OK || result == SIP_AUTHZ_TIMEOUT);
        refused += result == SIP_AUTHZ_OK;
        sip_authz_answer_clear(&answer);
        CHECK(time(NULL) < end);
    }
    sip_authz_free(handle);
}

static void killed_and_restarted(server *server, sip_authz *handle) {
    char line[1024];
    call call, by_address;
    call_to(&by_address, HOST_BY_ADDRESS, "killed", "");
    challenge(handle, "killed", PASSWORD, line);
    call_to(&call, HOST_BY_DIGEST, "killed-2", line);
    stop(server, SIGKILL);
    for (int i = 0; i < 20; i++) {
        CHECK(outcome_of(handle, &call, SIP_AUTHZ_UNREACHABLE) == SIP_AUTHZ_UNDECIDED);
        CHECK(outcome_of(handle, &by_address, SIP_AUTHZ_UNREACHABLE) == SIP_AUTHZ_UNDECIDED);
    }
    start(server, unix_place);
    wait_for_service(handle);
    /* nonces are valid only in the process that issued them */
    CHECK(outcome_of(handle, &call, SIP_AUTHZ_OK) == SIP_AUTHZ_CHALLENGE);
    for (int i = 0; i < 20; i++)
        CHECK(outcome_of(handle, &by_address, SIP_AUTHZ_OK) == SIP_AUTHZ_ACCEPT);
    check_digest(handle, "restarted");
}

/* The address that the server prints: `tcp:127.0.0.1:PORT`. */
static void tcp_place(const server *server, char place[100]) {
    time_t end = time(NULL) + PATIENCE_S;
    char output[4096];
    for (;;) {
        FILE *file = fopen(server->output, "r");
        size_t length = file ? fread(output, 1, sizeof output - 1, file) : 0;
        output[length] = 0;
        if (file)
            fclose(file);
        const char *found = strstr(output, "tcp:127.0.0.1:");
        if (found && strchr(found, '\n') && sscanf(found, "%99[tcp:0-9.]", place) == 1)
            return;
        if (time(NULL) >= end)
            fprintf(stderr, "%s\n", output);
        CHECK(time(NULL) < end);
        wait_a_little();
    }
}

static void tcp(void) {
    server server;
    char place[100];
    start(&server, "tcp:127.0.0.1:0");
    tcp_place(&server, place);
    call call;
    call_to(&call, HOST_BY_ADDRESS, "token", "");
    const char *wrong[] = {NULL, "", "wrong", TOKEN "0"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        sip_authz *stranger = open_service(place, PATIENCE_S * 1000, wrong[i]);
        CHECK(outcome_of(stranger, &call, SIP_AUTHZ_REFUSED) == SIP_AUTHZ_UNDECIDED);
        sip_authz_free(stranger);
    }
    sip_authz *handle = open_service(place, PATIENCE_S * 1000, TOKEN);
    check_digest(handle, "tcp");
    /* it says goodbye, which is noticed before the next request is sent */
    stop(&server, SIGTERM);
    CHECK(outcome_of(handle, &call, SIP_AUTHZ_UNREACHABLE) == SIP_AUTHZ_UNDECIDED);
    sip_authz_free(handle);
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    program = argv[1];
    folder = argv[2];
    write_config(folder, config);
    snprintf(unix_place, sizeof unix_place, "unix:%s/decide.sock", folder);
    /* the library sends no SIGPIPE, which would end this program */
    signal(SIGPIPE, SIG_DFL);

    sip_authz *handle = open_service(unix_place, PATIENCE_S * 1000, NULL);
    call call;
    call_to(&call, HOST_BY_ADDRESS, "nothing", "");
    CHECK(outcome_of(handle, &call, SIP_AUTHZ_UNREACHABLE) == SIP_AUTHZ_UNDECIDED);
    server server;
    start(&server, unix_place);
    wait_for_service(handle);
    unsupported(handle);
    check_digest(handle, "service");
    threads(handle);
    forks(handle);
    late_answers(&server);
    killed_and_restarted(&server, handle);
    stop(&server, SIGTERM);
    CHECK(outcome_of(handle, &call, SIP_AUTHZ_UNREACHABLE) == SIP_AUTHZ_UNDECIDED);
    sip_authz_counts counts = {.struct_size = sizeof counts};
    CHECK(sip_authz_count(handle, &counts) == SIP_AUTHZ_OK);
    CHECK(counts.accepted >= 800 && counts.failed >= 42);
    sip_authz_free(handle);
    tcp();
    puts("service: passed");
    return 0;
}
