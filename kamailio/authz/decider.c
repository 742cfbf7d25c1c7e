/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The connection of this process to the decision service: one handle for each process, opened after the
 * fork. libsip_authz connects at the first request, closes the connection after a time-out, and never
 * sends a request again.
 */

#include "decider.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../../core/dprint.h"
#include "../../core/ip_addr.h"

#include "settings.h"

#define MAX_TOKEN 4096

static const char *address;
static char token[MAX_TOKEN + 1];
static sip_authz *handle;
static pid_t owner; /* the process that opened the handle */

/* Reads the token without the line end behind it. */
static int read_token(const char *path)
{
    struct stat status;
    ssize_t length;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &status) < 0) {
        LM_ERR("token_file %s: %s\n", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    if (status.st_mode & (S_IRWXG | S_IRWXO)) {
        LM_ERR("token_file %s: expected a file for its owner only (chmod 600), found mode %o\n", path,
                (unsigned int)(status.st_mode & 07777));
        close(fd);
        return -1;
    }
    length = read(fd, token, sizeof(token));
    close(fd);
    if (length == (ssize_t)sizeof(token)) {
        LM_ERR("token_file %s: expected at most %d bytes\n", path, MAX_TOKEN);
        return -1;
    }
    while (length > 0 && (token[length - 1] == '\n' || token[length - 1] == '\r'))
        length--;
    if (length <= 0 || memchr(token, 0, length)) {
        LM_ERR("token_file %s: expected one line of text\n", path);
        return -1;
    }
    token[length] = 0;
    return 0;
}

static int open_handle(sip_authz **opened)
{
    char error[256] = "";
    sip_authz_options options;
    sip_authz_result result;

    memset(&options, 0, sizeof(options));
    options.struct_size = sizeof(options);
    options.timeout_ms = authz_settings.timeout;
    options.token = token[0] ? token : NULL;
    result = sip_authz_open(address, &options, opened, error, sizeof(error));
    if (result == SIP_AUTHZ_OK)
        return 0;
    LM_ERR("cannot open %s: %s: %s\n", address, sip_authz_result_text(result), error);
    return -1;
}

int decider_init(const char *where)
{
    sip_authz *trial = NULL;

    address = where;
    if (strncmp(where, "unix:", 5) != 0 && strncmp(where, "tcp:", 4) != 0) {
        LM_ERR("service: expected unix:PATH or tcp:ADDRESS:PORT, found %s\n", where);
        return -1;
    }
    if (authz_settings.token_file[0] && read_token(authz_settings.token_file) < 0)
        return -1;
    /* nothing is connected yet: this only finds a wrong address before Kamailio forks */
    if (open_handle(&trial) < 0)
        return -1;
    sip_authz_free(trial);
    return 0;
}

int decider_open(void)
{
    if (handle && owner == getpid())
        return 0;
    /* closes the copies of this process only */
    decider_close();
    if (open_handle(&handle) < 0)
        return -1;
    owner = getpid();
    return 0;
}

void decider_close(void)
{
    sip_authz_free(handle);
    handle = NULL;
}

/* The number of a transport in libsip_authz, or 0. */
static int32_t transport(int proto)
{
    switch (proto) {
        case PROTO_UDP:
            return SIP_AUTHZ_UDP;
        case PROTO_TCP:
            return SIP_AUTHZ_TCP;
        case PROTO_TLS:
            return SIP_AUTHZ_TLS;
        case PROTO_SCTP:
            return SIP_AUTHZ_SCTP;
        case PROTO_WS:
            return SIP_AUTHZ_WS;
        case PROTO_WSS:
            return SIP_AUTHZ_WSS;
        default:
            return 0;
    }
}

/* Logs an error: the first one, each one that differs from the last, and one a second. A service that is
 * down must not fill the log with a line for each call. */
static void log_error(sip_authz_result result, const sip_authz_answer *answer)
{
    static sip_authz_result last_result;
    static time_t last_time;
    static unsigned int skipped;
    const char *cause = answer->cause ? answer->cause : "";
    time_t now = time(NULL);

    if (result == last_result && now == last_time) {
        skipped++;
        return;
    }
    LM_ERR("%s: %s%s%s; the request is refused\n", address, sip_authz_result_text(result),
            cause[0] ? ": " : "", cause);
    if (skipped)
        LM_ERR("%s: %u more errors since the last line\n", address, skipped);
    last_result = result;
    last_time = now;
    skipped = 0;
}

int decider_ask(struct sip_msg *msg, sip_authz_answer *answer)
{
    sip_authz_request request;
    sip_authz_result result;

    memset(answer, 0, sizeof(*answer));
    answer->struct_size = sizeof(*answer);
    memset(&request, 0, sizeof(request));
    request.struct_size = sizeof(request);
    request.transport = transport(msg->rcv.proto);
    if (!request.transport) {
        LM_ERR("protocol %d cannot be decided; the request is refused\n", msg->rcv.proto);
        return -1;
    }
    request.source_ip = msg->rcv.src_ip.u.addr;
    request.source_ip_length = msg->rcv.src_ip.len;
    request.source_port = msg->rcv.src_port;
    request.message = msg->buf;
    request.message_length = msg->len;
    /* processes without a SIP rank, such as timers, open it here */
    if (decider_open() < 0)
        return -1;
    result = sip_authz_decide(handle, &request, answer);
    if (result == SIP_AUTHZ_OK)
        return 0;
    log_error(result, answer);
    return -1;
}
