/* Parts that the tests share: checks, SIP messages and digests. The digests are those of OpenSSL. */
#ifndef COMMON_H
#define COMMON_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <sys/wait.h>
#include <unistd.h>

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define VALGRIND_COUNT_ERRORS 0
#endif

#include <openssl/evp.h>
#include <sip_authz.h>

#define CHECK(condition)                                                              \
    do {                                                                              \
        if (!(condition)) {                                                           \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);   \
            exit(1);                                                                  \
        }                                                                             \
    } while (0)

#define HOST_BY_ADDRESS "address.example"
#define HOST_BY_DIGEST "digest.example"
#define PASSWORD "Correct-Horse-7"

static const char CONFIG[] =
    "[[ip_access_control_lists]]\n"
    "name = \"offices\"\n"
    "sid = \"AL00000000000000000000000000000001\"\n"
    "addresses = [\"192.0.2.0/24\"]\n"
    "[[credential_lists]]\n"
    "name = \"phones\"\n"
    "sid = \"CL00000000000000000000000000000001\"\n"
    "realm = \"example.com\"\n"
    "credentials = [{ username = \"alice\", password = \"" PASSWORD "\" }]\n"
    "[[domains]]\n"
    "name = \"" HOST_BY_ADDRESS "\"\n"
    "sid = \"SD00000000000000000000000000000001\"\n"
    "ip_access_control_lists = [\"offices\"]\n"
    "[[domains]]\n"
    "name = \"" HOST_BY_DIGEST "\"\n"
    "sid = \"SD00000000000000000000000000000002\"\n"
    "credential_lists = [\"phones\"]\n";

/* Ends a child of a fork. What the threads of its parent held at the fork is no leak of the child, so
 * another program takes its place, and leaks are not looked for. */
static void end_child(void) {
    CHECK(VALGRIND_COUNT_ERRORS == 0);
    execl("/bin/true", "true", (char *)NULL);
    _exit(126);
}

/* Waits for a child that must have succeeded. */
static void wait_for_child(pid_t child) {
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Writes the configuration into a folder. */
static void write_config(const char *folder, char path[900]) {
    snprintf(path, 900, "%s/edge.toml", folder);
    FILE *file = fopen(path, "w");
    CHECK(file && fputs(CONFIG, file) >= 0 && fclose(file) == 0);
}

/* A message and its request. */
typedef struct call {
    char message[4096];
    uint8_t ip[4];
    sip_authz_request request;
} call;

/* An INVITE for a host, with the lines of credentials or "". */
static void call_to(call *call, const char *host, const char *id, const char *credentials) {
    memset(call, 0, sizeof *call);
    int length = snprintf(call->message, sizeof call->message,
                          "INVITE sip:100@%s SIP/2.0\r\n"
                          "Via: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK%s\r\n"
                          "Max-Forwards: 70\r\n"
                          "From: <sip:alice@%s>;tag=1\r\n"
                          "To: <sip:100@%s>\r\n"
                          "Call-ID: %s\r\n"
                          "CSeq: 1 INVITE\r\n"
                          "%s"
                          "Content-Length: 0\r\n\r\n",
                          host, id, host, host, id, credentials);
    CHECK(length > 0 && (size_t)length < sizeof call->message);
    memcpy(call->ip, "\300\0\2\7", 4);
    call->request.struct_size = sizeof call->request;
    call->request.transport = SIP_AUTHZ_UDP;
    call->request.source_ip = call->ip;
    call->request.source_ip_length = sizeof call->ip;
    call->request.source_port = 5060;
    call->request.message = call->message;
    call->request.message_length = (size_t)length;
}

/* An answer to be written. */
static sip_authz_answer answer_of(void) {
    sip_authz_answer answer;
    memset(&answer, 0, sizeof answer);
    answer.struct_size = sizeof answer;
    return answer;
}

static void check_texts(const sip_authz_answer *answer) {
    CHECK(answer->used_header_name && answer->phrase && answer->header_lines && answer->account);
    CHECK(answer->target && answer->target_name && answer->user && answer->permissions);
    CHECK(answer->reason && answer->cause);
}

/* Decides a call, and returns its outcome. After an error it is a refusal. */
static int outcome_of(sip_authz *handle, const call *call, sip_authz_result expected) {
    sip_authz_answer answer = answer_of();
    sip_authz_result result = sip_authz_decide(handle, &call->request, &answer);
    if (result != expected)
        fprintf(stderr, "result %d (%s), %s\n", result, sip_authz_result_text(result), answer.cause);
    CHECK(result == expected);
    check_texts(&answer);
    if (result != SIP_AUTHZ_OK) {
        CHECK(answer.outcome == SIP_AUTHZ_UNDECIDED);
        CHECK(answer.status == 503 || answer.status == 400 || answer.status == 513);
        CHECK(strcmp(answer.reason, sip_authz_result_text(result)) == 0);
    }
    int outcome = answer.outcome;
    sip_authz_answer_clear(&answer);
    return outcome;
}

static void md5(const char *text, char hex[33]) {
    unsigned char digest[16];
    size_t length = sizeof digest;
    CHECK(EVP_Q_digest(NULL, "MD5", NULL, text, strlen(text), digest, &length) == 1);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

/* The line of credentials for the first challenge with MD5. */
static void authorize(char line[1024], const char *challenges, const char *password) {
    const char *start = challenges;
    char challenge[1024];
    for (;;) {
        const char *end = strstr(start, "\r\n");
        CHECK(end && (size_t)(end - start) < sizeof challenge);
        memcpy(challenge, start, (size_t)(end - start));
        challenge[end - start] = 0;
        if (strstr(challenge, "algorithm=MD5"))
            break;
        start = end + 2;
    }
    char nonce[256], text[1024], ha1[33], ha2[33], response[33];
    const char *found = strstr(challenge, "nonce=\"");
    CHECK(found && sscanf(found, "nonce=\"%255[^\"]", nonce) == 1);
    CHECK(strstr(challenge, "realm=\"example.com\""));
    snprintf(text, sizeof text, "alice:example.com:%s", password);
    md5(text, ha1);
    md5("INVITE:sip:100@" HOST_BY_DIGEST, ha2);
    snprintf(text, sizeof text, "%s:%s:00000001:0a4f113b:auth:%s", ha1, nonce, ha2);
    md5(text, response);
    snprintf(line, 1024,
             "Proxy-Authorization: Digest username=\"alice\", realm=\"example.com\", nonce=\"%s\", "
             "uri=\"sip:100@" HOST_BY_DIGEST "\", response=\"%s\", algorithm=MD5, "
             "cnonce=\"0a4f113b\", qop=auth, nc=00000001\r\n",
             nonce, response);
}

/* Asks for a challenge, and writes the line of credentials that answers it. */
static void challenge(sip_authz *handle, const char *id, const char *password, char line[1024]) {
    call first;
    call_to(&first, HOST_BY_DIGEST, id, "");
    sip_authz_answer answer = answer_of();
    CHECK(sip_authz_decide(handle, &first.request, &answer) == SIP_AUTHZ_OK);
    check_texts(&answer);
    CHECK(answer.outcome == SIP_AUTHZ_CHALLENGE && answer.status == 407);
    CHECK(strcmp(answer.phrase, "Proxy Authentication Required") == 0);
    CHECK(strncmp(answer.header_lines, "Proxy-Authenticate: Digest ", 27) == 0);
    authorize(line, answer.header_lines, password);
    sip_authz_answer_clear(&answer);
}

/* A right call by digest is accepted, its retransmission too, a replay and a wrong password are not. */
static void check_digest(sip_authz *handle, const char *name) {
    char line[1024], id[64];
    call second;
    snprintf(id, sizeof id, "%s-first", name);
    challenge(handle, id, PASSWORD, line);
    snprintf(id, sizeof id, "%s-second", name);
    call_to(&second, HOST_BY_DIGEST, id, line);
    for (int again = 0; again < 2; again++) {
        sip_authz_answer answer = answer_of();
        CHECK(sip_authz_decide(handle, &second.request, &answer) == SIP_AUTHZ_OK);
        check_texts(&answer);
        CHECK(answer.outcome == SIP_AUTHZ_ACCEPT && answer.status == 0);
        CHECK(answer.is_retransmission == again);
        CHECK(answer.used_header_index == 0);
        CHECK(strcmp(answer.used_header_name, "Proxy-Authorization") == 0);
        CHECK(strcmp(answer.user, "alice") == 0);
        CHECK(strcmp(answer.target, "SD00000000000000000000000000000002") == 0);
        CHECK(strcmp(answer.target_name, HOST_BY_DIGEST) == 0);
        CHECK(strncmp(answer.account, "AC", 2) == 0 && strlen(answer.account) == 34);
        sip_authz_answer_clear(&answer);
    }
    snprintf(id, sizeof id, "%s-replay", name);
    call_to(&second, HOST_BY_DIGEST, id, line);
    CHECK(outcome_of(handle, &second, SIP_AUTHZ_OK) == SIP_AUTHZ_CHALLENGE);
    snprintf(id, sizeof id, "%s-third", name);
    challenge(handle, id, "guessed", line);
    call_to(&second, HOST_BY_DIGEST, id, line);
    CHECK(outcome_of(handle, &second, SIP_AUTHZ_OK) != SIP_AUTHZ_ACCEPT);
}

#endif
