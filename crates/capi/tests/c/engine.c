/* Engines: all functions, wrong arguments, threads that decide while records change, and forks. */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "common.h"

static sip_authz *open_engine(void) {
    sip_authz *handle = NULL;
    char error[100] = "?";
    CHECK(sip_authz_new(CONFIG, sizeof CONFIG - 1, &handle, error, sizeof error) == SIP_AUTHZ_OK);
    CHECK(handle && error[0] == 0);
    return handle;
}

static void versions(void) {
    CHECK(sip_authz_abi_version() == SIP_AUTHZ_ABI_VERSION);
    CHECK(strchr(sip_authz_version(), '.'));
    for (int result = -1; result < 15; result++) {
        CHECK(strlen(sip_authz_result_text(result)) > 0);
        for (int other = 0; result >= 0 && other < result && result <= SIP_AUTHZ_PANIC; other++)
            CHECK(strcmp(sip_authz_result_text(result), sip_authz_result_text(other)) != 0);
    }
}

static void wrong_configurations(void) {
    sip_authz *handle = (sip_authz *)&handle;
    char error[200] = "?";
    const char *wrong = "[[domains]]\nname = \"sip.example.com\"\ncolour = \"red\"\n";
    CHECK(sip_authz_new(wrong, strlen(wrong), &handle, error, sizeof error) == SIP_AUTHZ_CONFIG);
    CHECK(handle == NULL && strstr(error, "config:3:"));
    /* the text is cut, and ends with NUL */
    memset(error, '?', sizeof error);
    CHECK(sip_authz_new(wrong, strlen(wrong), &handle, error, 10) == SIP_AUTHZ_CONFIG);
    CHECK(strlen(error) == 9 && error[10] == '?');
    CHECK(sip_authz_new(wrong, strlen(wrong), &handle, error, 0) == SIP_AUTHZ_CONFIG);
    CHECK(sip_authz_new(wrong, strlen(wrong), &handle, NULL, 99) == SIP_AUTHZ_CONFIG);
    CHECK(sip_authz_new("\xff\xfe", 2, &handle, NULL, 0) == SIP_AUTHZ_CONFIG);
    CHECK(sip_authz_new("a = \"\0\"", 7, &handle, NULL, 0) == SIP_AUTHZ_CONFIG);
    CHECK(sip_authz_new(NULL, 1, &handle, NULL, 0) == SIP_AUTHZ_ARGUMENT);
    CHECK(sip_authz_new(wrong, SIZE_MAX, &handle, NULL, 0) == SIP_AUTHZ_ARGUMENT);
    CHECK(sip_authz_new(CONFIG, sizeof CONFIG - 1, NULL, error, sizeof error) == SIP_AUTHZ_ARGUMENT);
    CHECK(strstr(error, "handle"));
    CHECK(sip_authz_open(NULL, NULL, &handle, NULL, 0) == SIP_AUTHZ_ARGUMENT);
    CHECK(sip_authz_open("carrier pigeon", NULL, &handle, NULL, 0) == SIP_AUTHZ_ARGUMENT);
    CHECK(sip_authz_open("file:/nowhere/edge.toml", NULL, &handle, NULL, 0) == SIP_AUTHZ_SYSTEM);
    sip_authz_options options = {sizeof options - 1, 0, NULL};
    CHECK(sip_authz_open("unix:/x", &options, &handle, NULL, 0) == SIP_AUTHZ_ARGUMENT);
    CHECK(handle == NULL);
    /* an empty configuration admits nothing */
    CHECK(sip_authz_new(NULL, 0, &handle, NULL, 0) == SIP_AUTHZ_OK);
    call call;
    call_to(&call, HOST_BY_ADDRESS, "empty", "");
    CHECK(outcome_of(handle, &call, SIP_AUTHZ_OK) == SIP_AUTHZ_REJECT);
    sip_authz_free(handle);
}

static void wrong_arguments(sip_authz *handle) {
    call call;
    call_to(&call, HOST_BY_ADDRESS, "arguments", "");
    CHECK(outcome_of(NULL, &call, SIP_AUTHZ_ARGUMENT) == SIP_AUTHZ_UNDECIDED);
    CHECK(sip_authz_decide(handle, &call.request, NULL) == SIP_AUTHZ_ARGUMENT);
    sip_authz_answer answer = answer_of();
    CHECK(sip_authz_decide(handle, NULL, &answer) == SIP_AUTHZ_ARGUMENT && answer.status == 400);
    sip_authz_answer_clear(&answer);
    CHECK(sip_authz_decide(NULL, NULL, &answer) == SIP_AUTHZ_ARGUMENT && answer.status == 503);
    sip_authz_answer_clear(&answer);
    sip_authz_answer_clear(&answer);
    sip_authz_answer_clear(NULL);
    check_texts(&answer);

#define WRONG(change)                                                             \
    do {                                                                          \
        sip_authz_request good = call.request;                                    \
        change;                                                                   \
        CHECK(outcome_of(handle, &call, SIP_AUTHZ_ARGUMENT) == SIP_AUTHZ_UNDECIDED); \
        call.request = good;                                                      \
    } while (0)
    WRONG(call.request.struct_size = 0);
    WRONG(call.request.struct_size--);
    WRONG(call.request.transport = 0);
    WRONG(call.request.transport = 8);
    WRONG(call.request.source_ip = NULL);
    WRONG(call.request.source_ip_length = 0);
    WRONG(call.request.source_ip_length = 5);
    WRONG(call.request.message = NULL);
    WRONG((call.request.message = NULL, call.request.message_length = 0));
    WRONG(call.request.message_length = SIZE_MAX);
    WRONG((call.request.method = "INVITE", call.request.method_length = 6));
    WRONG(call.request.header_count = 1);
    WRONG(call.request.body_length = 1);
    WRONG(call.request.uri_length = (size_t)-1);
    /* so many headers that their size is no size of memory */
    sip_authz_header header = {NULL, 0, NULL, 0};
    WRONG((call.request.message = NULL, call.request.message_length = 0,
           call.request.headers = &header, call.request.header_count = SIZE_MAX / 8));
    header.name_length = 1;
    WRONG((call.request.message = NULL, call.request.message_length = 0,
           call.request.headers = &header, call.request.header_count = 1));

    char text[50];
    CHECK(sip_authz_replace(NULL, CONFIG, 1, text, sizeof text) == SIP_AUTHZ_ARGUMENT && text[0]);
    CHECK(sip_authz_replace(handle, NULL, 1, NULL, 0) == SIP_AUTHZ_ARGUMENT);
    CHECK(sip_authz_apply(NULL, CONFIG, 1, NULL, 0, NULL, 0) == SIP_AUTHZ_ARGUMENT);
    CHECK(sip_authz_apply(handle, NULL, 0, NULL, 1, NULL, 0) == SIP_AUTHZ_ARGUMENT);
    const char *none[] = {NULL};
    CHECK(sip_authz_apply(handle, NULL, 0, none, 1, NULL, 0) == SIP_AUTHZ_ARGUMENT);
    CHECK(sip_authz_apply(handle, NULL, 0, NULL, 0, NULL, 0) == SIP_AUTHZ_OK);
    char *explained = text;
    CHECK(sip_authz_explain(handle, NULL, &explained) == SIP_AUTHZ_ARGUMENT && !explained);
    CHECK(sip_authz_explain(NULL, &call.request, &explained) == SIP_AUTHZ_ARGUMENT);
    CHECK(sip_authz_explain(handle, &call.request, NULL) == SIP_AUTHZ_ARGUMENT);
    sip_authz_text_free(NULL);
    sip_authz_counts counts = {.struct_size = sizeof counts};
    CHECK(sip_authz_count(NULL, &counts) == SIP_AUTHZ_ARGUMENT);
    CHECK(sip_authz_count(handle, NULL) == SIP_AUTHZ_ARGUMENT);
    counts.struct_size = 8;
    CHECK(sip_authz_count(handle, &counts) == SIP_AUTHZ_ARGUMENT);
    sip_authz_free(NULL);
}

/* Callers with other sizes of structs: nothing is written behind the size that they set. */
static void sizes(sip_authz *handle) {
    call call;
    call_to(&call, HOST_BY_ADDRESS, "sizes", "");
    struct {
        sip_authz_answer answer;
        unsigned char behind[64];
    } larger;
    for (uint32_t size = 0; size < sizeof larger; size++) {
        memset(&larger, 0xaa, sizeof larger);
        larger.answer.struct_size = size;
        sip_authz_result result = sip_authz_decide(handle, &call.request, &larger.answer);
        const unsigned char *bytes = (const unsigned char *)&larger;
        size_t refusal = offsetof(sip_authz_answer, is_retransmission);
        size_t written = size < refusal ? sizeof(uint32_t) : refusal;
        if (result == SIP_AUTHZ_OK)
            written = sizeof(sip_authz_answer);
        CHECK(result == (size < sizeof(sip_authz_answer) ? SIP_AUTHZ_ARGUMENT : SIP_AUTHZ_OK));
        CHECK(larger.answer.struct_size == size);
        CHECK(size < refusal || result == SIP_AUTHZ_OK ||
              (larger.answer.outcome == SIP_AUTHZ_UNDECIDED && larger.answer.status == 503));
        for (size_t i = written; i < sizeof larger; i++)
            CHECK(bytes[i] == 0xaa);
        if (result == SIP_AUTHZ_OK) {
            CHECK(larger.answer.outcome == SIP_AUTHZ_ACCEPT);
            sip_authz_answer_clear(&larger.answer);
            CHECK(larger.answer.outcome != SIP_AUTHZ_ACCEPT && !larger.answer.memory);
        }
    }
    /* fields of later versions are not read */
    struct {
        sip_authz_request request;
        unsigned char behind[64];
    } newer;
    memset(&newer, 0xaa, sizeof newer);
    newer.request = call.request;
    newer.request.struct_size = sizeof newer;
    sip_authz_answer answer = answer_of();
    CHECK(sip_authz_decide(handle, &newer.request, &answer) == SIP_AUTHZ_OK);
    CHECK(answer.outcome == SIP_AUTHZ_ACCEPT);
    sip_authz_answer_clear(&answer);
}

static void by_address(sip_authz *handle) {
    call call;
    call_to(&call, HOST_BY_ADDRESS, "by-address", "");
    sip_authz_answer answer = answer_of();
    CHECK(sip_authz_decide(handle, &call.request, &answer) == SIP_AUTHZ_OK);
    CHECK(answer.outcome == SIP_AUTHZ_ACCEPT && answer.status == 0 && answer.phrase[0] == 0);
    CHECK(strcmp(answer.target_name, HOST_BY_ADDRESS) == 0 && answer.user[0] == 0);
    CHECK(answer.used_header_index == -1 && answer.used_header_name[0] == 0);
    sip_authz_answer_clear(&answer);
    call.ip[3] = 0;
    call.ip[2] = 3;
    CHECK(sip_authz_decide(handle, &call.request, &answer) == SIP_AUTHZ_OK);
    CHECK(answer.outcome == SIP_AUTHZ_REJECT && answer.status == 403);
    CHECK(strcmp(answer.phrase, "Forbidden") == 0 && answer.cause[0]);
    CHECK(strncmp(answer.header_lines, "X-Authz-Error: 32201 ", 21) == 0);
    sip_authz_answer_clear(&answer);
    uint8_t ip[16] = {0x20, 0x01, 0x0d, 0xb8};
    call.request.source_ip = ip;
    call.request.source_ip_length = sizeof ip;
    CHECK(outcome_of(handle, &call, SIP_AUTHZ_OK) == SIP_AUTHZ_REJECT);
}

/* Requests that are not decided, and a request by its parts. */
static void forms(sip_authz *handle) {
    call call;
    sip_authz_answer answer = answer_of();
    call_to(&call, HOST_BY_ADDRESS, "forms", "CSeq: 2 INVITE\r\n");
    CHECK(sip_authz_decide(handle, &call.request, &answer) == SIP_AUTHZ_OK);
    CHECK(answer.outcome == SIP_AUTHZ_UNDECIDED && answer.status == 400 && answer.phrase[0]);
    sip_authz_answer_clear(&answer);
    call.request.message = "hello\0there";
    call.request.message_length = 11;
    CHECK(sip_authz_decide(handle, &call.request, &answer) == SIP_AUTHZ_OK);
    CHECK(answer.outcome == SIP_AUTHZ_UNDECIDED && answer.status == 0);
    CHECK(strcmp(answer.reason, "not sip") == 0);
    sip_authz_answer_clear(&answer);
    call.request.message_length = 0;
    CHECK(outcome_of(handle, &call, SIP_AUTHZ_OK) == SIP_AUTHZ_UNDECIDED);
    static char large[200000];
    memset(large, 'x', sizeof large);
    call.request.message = large;
    call.request.message_length = sizeof large;
    CHECK(sip_authz_decide(handle, &call.request, &answer) == SIP_AUTHZ_TOO_LONG);
    CHECK(answer.status == 513);
    sip_authz_answer_clear(&answer);

#define FIELD(name, value) {name, sizeof name - 1, value, sizeof value - 1}
    sip_authz_header headers[] = {
        FIELD("Via", "SIP/2.0/TCP 192.0.2.7:5060;branch=z9hG4bKparts"),
        FIELD("From", "<sip:alice@example.com>;tag=1"),
        FIELD("To", "<sip:100@example.com>"),
        FIELD("Call-ID", "parts"),
        FIELD("CSeq", "1 OPTIONS"),
        FIELD("Max-Forwards", "70"),
        FIELD("Content-Length", "0"),
    };
    call.request.message = NULL;
    call.request.message_length = 0;
    call.request.transport = SIP_AUTHZ_TCP;
    call.request.method = "OPTIONS";
    call.request.method_length = 7;
    call.request.uri = "sip:100@" HOST_BY_ADDRESS;
    call.request.uri_length = strlen(call.request.uri);
    call.request.headers = headers;
    call.request.header_count = sizeof headers / sizeof *headers;
    CHECK(outcome_of(handle, &call, SIP_AUTHZ_OK) == SIP_AUTHZ_ACCEPT);
    /* a line end in a value could begin another header */
    headers[3].value = "a\r\nX: b";
    headers[3].value_length = 7;
    CHECK(outcome_of(handle, &call, SIP_AUTHZ_OK) == SIP_AUTHZ_UNDECIDED);
    headers[3].value_length = 70000;
    headers[3].value = large;
    headers[3].name = large;
    headers[3].name_length = 70000;
    CHECK(outcome_of(handle, &call, SIP_AUTHZ_TOO_LONG) == SIP_AUTHZ_UNDECIDED);
}

static void explain(sip_authz *handle) {
    sip_authz_counts before = {.struct_size = sizeof before}, after = before;
    char line[1024], *text = NULL;
    challenge(handle, "explain", PASSWORD, line);
    call call;
    call_to(&call, HOST_BY_DIGEST, "explain-2", line);
    CHECK(sip_authz_count(handle, &before) == SIP_AUTHZ_OK);
    /* it uses no nonce up */
    for (int i = 0; i < 2; i++) {
        CHECK(sip_authz_explain(handle, &call.request, &text) == SIP_AUTHZ_OK);
        CHECK(strstr(text, "decision: accept") && strstr(text, "alice"));
        sip_authz_text_free(text);
    }
    CHECK(sip_authz_count(handle, &after) == SIP_AUTHZ_OK);
    CHECK(before.accepted == after.accepted && before.challenged == after.challenged);
    CHECK(before.rejected == after.rejected && before.failed == after.failed);
    CHECK(outcome_of(handle, &call, SIP_AUTHZ_OK) == SIP_AUTHZ_ACCEPT);
    call.request.message_length = 3;
    CHECK(sip_authz_explain(handle, &call.request, &text) == SIP_AUTHZ_OK);
    CHECK(strstr(text, "not decided"));
    sip_authz_text_free(text);
    CHECK(sip_authz_count(handle, &after) == SIP_AUTHZ_OK);
    CHECK(after.accepted == before.accepted + 1 && after.failed == before.failed);
}

static void changes(sip_authz *handle) {
    char error[300], line[1024];
    call call, open_call;
    call_to(&call, HOST_BY_ADDRESS, "changes", "");
    challenge(handle, "changes", PASSWORD, line);
    call_to(&open_call, HOST_BY_DIGEST, "changes-2", line);
    CHECK(outcome_of(handle, &call, SIP_AUTHZ_OK) == SIP_AUTHZ_ACCEPT);
    /* wrong texts and SIDs change nothing */
    const char *list[] = {"AL00000000000000000000000000000001"};
    const char *both[] = {"AL00000000000000000000000000000001", "SD00000000000000000000000000000001"};
    const char *unknown[] = {"SD00000000000000000000000000000001", "SD0000000000000000000000000000000f"};
    CHECK(sip_authz_replace(handle, "x", 1, error, sizeof error) == SIP_AUTHZ_CONFIG && error[0]);
    CHECK(sip_authz_apply(handle, "x", 1, NULL, 0, error, sizeof error) == SIP_AUTHZ_CONFIG);
    CHECK(sip_authz_apply(handle, NULL, 0, list, 1, error, sizeof error) == SIP_AUTHZ_CONFIG);
    CHECK(sip_authz_apply(handle, NULL, 0, unknown, 2, error, sizeof error) == SIP_AUTHZ_CONFIG);
    CHECK(strstr(error, unknown[1]));
    CHECK(outcome_of(handle, &call, SIP_AUTHZ_OK) == SIP_AUTHZ_ACCEPT);
    /* another address for the list */
    const char *more = "[[ip_access_control_lists]]\nname = \"offices\"\n"
                       "sid = \"AL00000000000000000000000000000001\"\naddresses = [\"198.51.100.0/24\"]\n";
    CHECK(sip_authz_apply(handle, more, strlen(more), NULL, 0, error, sizeof error) == SIP_AUTHZ_OK);
    CHECK(error[0] == 0 && outcome_of(handle, &call, SIP_AUTHZ_OK) == SIP_AUTHZ_ACCEPT);
    memcpy(call.ip, "\306\063\144\1", 4);
    CHECK(outcome_of(handle, &call, SIP_AUTHZ_OK) == SIP_AUTHZ_ACCEPT);
    CHECK(sip_authz_apply(handle, NULL, 0, both, 2, error, sizeof error) == SIP_AUTHZ_OK);
    CHECK(outcome_of(handle, &call, SIP_AUTHZ_OK) == SIP_AUTHZ_REJECT);
    /* all records at once; nonces stay */
    CHECK(sip_authz_replace(handle, CONFIG, sizeof CONFIG - 1, error, sizeof error) == SIP_AUTHZ_OK);
    CHECK(outcome_of(handle, &call, SIP_AUTHZ_OK) == SIP_AUTHZ_REJECT);
    memcpy(call.ip, "\300\0\2\7", 4);
    CHECK(outcome_of(handle, &call, SIP_AUTHZ_OK) == SIP_AUTHZ_ACCEPT);
    CHECK(outcome_of(handle, &open_call, SIP_AUTHZ_OK) == SIP_AUTHZ_ACCEPT);
}

/* A child of a fork is refused by each function, and its parent goes on. */
static void fork_once(sip_authz *handle) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        call call;
        char *text;
        sip_authz_counts counts = {.struct_size = sizeof counts};
        const sip_authz_result other = SIP_AUTHZ_OTHER_PROCESS;
        call_to(&call, HOST_BY_ADDRESS, "child", "");
        CHECK(outcome_of(handle, &call, other) == SIP_AUTHZ_UNDECIDED);
        CHECK(sip_authz_replace(handle, CONFIG, sizeof CONFIG - 1, NULL, 0) == other);
        CHECK(sip_authz_apply(handle, NULL, 0, NULL, 0, NULL, 0) == other);
        CHECK(sip_authz_explain(handle, &call.request, &text) == other);
        CHECK(sip_authz_count(handle, &counts) == other);
        sip_authz_free(handle);
        end_child();
    }
    wait_for_child(child);
}

typedef struct worker {
    pthread_t thread;
    sip_authz *handle;
    int number;
} worker;

static atomic_bool has_ended;
static atomic_uint rounds;

static void *decide_until_the_end(void *argument) {
    worker *worker = argument;
    char name[64], line[1024];
    call right, wrong, other;
    call_to(&wrong, HOST_BY_ADDRESS, "threads", "");
    wrong.ip[0] = 10;
    for (int round = 0; !atomic_load(&has_ended); round++) {
        snprintf(name, sizeof name, "thread-%d-%d", worker->number, round);
        call_to(&right, HOST_BY_ADDRESS, name, "");
        CHECK(outcome_of(worker->handle, &right, SIP_AUTHZ_OK) == SIP_AUTHZ_ACCEPT);
        CHECK(outcome_of(worker->handle, &wrong, SIP_AUTHZ_OK) == SIP_AUTHZ_REJECT);
        challenge(worker->handle, name, PASSWORD, line);
        strcat(name, "-2");
        call_to(&right, HOST_BY_DIGEST, name, line);
        CHECK(outcome_of(worker->handle, &right, SIP_AUTHZ_OK) == SIP_AUTHZ_ACCEPT);
        strcat(name, "-replay");
        call_to(&other, HOST_BY_DIGEST, name, line);
        CHECK(outcome_of(worker->handle, &other, SIP_AUTHZ_OK) == SIP_AUTHZ_CHALLENGE);
        atomic_fetch_add(&rounds, 1);
    }
    return NULL;
}

/* Threads decide while records change and the process forks. */
static void threads(sip_authz *handle) {
    enum { WORKERS = 4, ROUNDS = 60 };
    static const char other[] = "[[domains]]\nname = \"other.example\"\n"
                                "sid = \"SD0000000000000000000000000000000f\"\n";
    const char *removed[] = {"SD0000000000000000000000000000000f"};
    worker workers[WORKERS];
    for (int i = 0; i < WORKERS; i++) {
        workers[i].handle = handle;
        workers[i].number = i;
        CHECK(pthread_create(&workers[i].thread, NULL, decide_until_the_end, &workers[i]) == 0);
    }
    const struct timespec pause = {0, 1000000};
    for (int round = 0; round < 5 || atomic_load(&rounds) < ROUNDS; round++) {
        CHECK(sip_authz_apply(handle, other, sizeof other - 1, NULL, 0, NULL, 0) == SIP_AUTHZ_OK);
        CHECK(sip_authz_apply(handle, NULL, 0, removed, 1, NULL, 0) == SIP_AUTHZ_OK);
        CHECK(sip_authz_replace(handle, CONFIG, sizeof CONFIG - 1, NULL, 0) == SIP_AUTHZ_OK);
        if (round < 5)
            fork_once(handle);
        /* Valgrind lets one thread run at a time */
        nanosleep(&pause, NULL);
    }
    atomic_store(&has_ended, true);
    for (int i = 0; i < WORKERS; i++)
        CHECK(pthread_join(workers[i].thread, NULL) == 0);
}

int main(int argc, char **argv) {
    versions();
    wrong_configurations();
    sip_authz *handle = open_engine();
    wrong_arguments(handle);
    sizes(handle);
    by_address(handle);
    check_digest(handle, "engine");
    forms(handle);
    explain(handle);
    changes(handle);

    /* a challenge from before the forks is answered after them */
    char line[1024];
    call call;
    challenge(handle, "forks", PASSWORD, line);
    call_to(&call, HOST_BY_DIGEST, "forks-2", line);
    fork_once(handle);
    CHECK(outcome_of(handle, &call, SIP_AUTHZ_OK) == SIP_AUTHZ_ACCEPT);
    threads(handle);
    sip_authz_counts counts = {.struct_size = sizeof counts};
    CHECK(sip_authz_count(handle, &counts) == SIP_AUTHZ_OK);
    CHECK(counts.accepted >= 120 && counts.challenged >= 120 && counts.rejected >= 60);
    CHECK(counts.undecided >= 4 && counts.failed >= 14);
    sip_authz_free(handle);

    /* the same from a file */
    CHECK(argc == 2);
    char location[1000];
    strcpy(location, "file:");
    write_config(argv[1], location + 5);
    CHECK(sip_authz_open(location, NULL, &handle, NULL, 0) == SIP_AUTHZ_OK);
    check_digest(handle, "file");
    sip_authz_free(handle);
    puts("engine: passed");
    return 0;
}
