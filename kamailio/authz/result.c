/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The decision about the current request: its return code, AVPs, used header and response. Everything but
 * a whole, valid accept is a refusal.
 */

#include "result.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <sip_authz.h>

#include "../../core/data_lump.h"
#include "../../core/data_lump_rpl.h"
#include "../../core/dprint.h"
#include "../../core/parser/hf.h"
#include "../../core/usr_avp.h"
#include "../../modules/sl/sl.h"

#include "decider.h"
#include "settings.h"

#define MAX_NAME 128

enum avp {
    AVP_ACCOUNT,
    AVP_TARGET,
    AVP_TARGET_NAME,
    AVP_USER,
    AVP_PERMISSIONS,
    AVP_REASON,
    AVP_CAUSE,
    AVP_STATUS,
    AVP_RETRANSMISSION,
    AVP_COUNT
};

static const char *const AVP_NAMES[AVP_COUNT] = {
    [AVP_ACCOUNT] = "account",
    [AVP_TARGET] = "target",
    [AVP_TARGET_NAME] = "target_name",
    [AVP_USER] = "user",
    [AVP_PERMISSIONS] = "permissions",
    [AVP_REASON] = "reason",
    [AVP_CAUSE] = "cause",
    [AVP_STATUS] = "status",
    [AVP_RETRANSMISSION] = "retransmission",
};

static sl_api_t sl;
static char name_texts[AVP_COUNT][MAX_NAME];
static int_str avp_names[AVP_COUNT];

/* The last decision of this process. */
static struct {
    int is_set;
    unsigned int id; /* of the message within this process */
    const char *buffer;
    int code;
    /* The response; 0: none. */
    int status;
    const char *phrase;
    const char *header_lines;
    sip_authz_answer answer;
} last;

int result_init(void)
{
    int index, length;

    if (sl_load_api(&sl) != 0) {
        LM_ERR("the module sl must be loaded before authz\n");
        return -1;
    }
    for (index = 0; index < AVP_COUNT; index++) {
        length = snprintf(name_texts[index], MAX_NAME, "%.*s%s", authz_settings.prefix.len,
                authz_settings.prefix.s, AVP_NAMES[index]);
        if (length >= MAX_NAME) {
            LM_ERR("prefix: expected a shorter text\n");
            return -1;
        }
        avp_names[index].s.s = name_texts[index];
        avp_names[index].s.len = length;
    }
    return 0;
}

void result_clear(void)
{
    if (last.is_set)
        sip_authz_answer_clear(&last.answer);
    memset(&last, 0, sizeof(last));
}

/* A faked message can have the id of a received one, but not its buffer. */
static int is_last(const struct sip_msg *msg)
{
    return last.is_set && last.id == msg->id && last.buffer == msg->buf;
}

static int set_text(enum avp avp, const char *text)
{
    int_str value;

    if (!text || !text[0])
        return 0;
    value.s.s = (char *)text;
    value.s.len = strlen(text);
    return add_avp(AVP_NAME_STR | AVP_VAL_STR, avp_names[avp], value);
}

static int set_number(enum avp avp, int number)
{
    int_str value;

    value.n = number;
    return add_avp(AVP_NAME_STR, avp_names[avp], value);
}

static void clear_avps(void)
{
    int index;

    for (index = 0; index < AVP_COUNT; index++)
        delete_avp(AVP_NAME_STR, avp_names[index]);
}

/* Returns -1 if a value could not be stored. */
static int set_avps(const sip_authz_answer *answer)
{
    int failed = 0;

    failed |= set_text(AVP_ACCOUNT, answer->account);
    failed |= set_text(AVP_TARGET, answer->target);
    failed |= set_text(AVP_TARGET_NAME, answer->target_name);
    failed |= set_text(AVP_USER, answer->user);
    failed |= set_text(AVP_PERMISSIONS, answer->permissions);
    failed |= set_text(AVP_REASON, answer->reason);
    failed |= set_text(AVP_CAUSE, answer->cause);
    if (last.status)
        failed |= set_number(AVP_STATUS, last.status);
    failed |= set_number(AVP_RETRANSMISSION, answer->is_retransmission == 1);
    return failed ? -1 : 0;
}

/* Removes the credentials that the accept used. Returns -1 if they are not found: then Kamailio and the
 * service do not read the same request. */
static int remove_used_header(struct sip_msg *msg, const sip_authz_answer *answer)
{
    struct hdr_field *header;
    size_t length;
    int index = 0;

    if (answer->used_header_index < 0)
        return 0;
    if (parse_headers(msg, HDR_EOH_F, 0) < 0)
        return -1;
    length = strlen(answer->used_header_name);
    for (header = msg->headers; header; header = header->next) {
        if (header->name.len < 0 || (size_t)header->name.len != length
                || strncasecmp(header->name.s, answer->used_header_name, length) != 0)
            continue;
        if (index++ < answer->used_header_index)
            continue;
        return del_lump(msg, header->name.s - msg->buf, header->len, header->type) ? 0 : -1;
    }
    return -1;
}

/* The return code of an answer whose call was successful. */
static int code_of(struct sip_msg *msg, const sip_authz_answer *answer)
{
    switch (answer->outcome) {
        case SIP_AUTHZ_ACCEPT:
            if (remove_used_header(msg, answer) == 0)
                return AUTHZ_ACCEPTED;
            LM_ERR("cannot remove the used header %s (number %d); the request is refused\n",
                    answer->used_header_name, (int)answer->used_header_index);
            return AUTHZ_FAILED;
        case SIP_AUTHZ_CHALLENGE:
            return AUTHZ_CHALLENGED;
        case SIP_AUTHZ_REJECT:
            return AUTHZ_REJECTED;
        case SIP_AUTHZ_UNDECIDED:
            return AUTHZ_UNDECIDED;
        case SIP_AUTHZ_OVERLOADED:
            return AUTHZ_OVERLOADED;
        default:
            LM_ERR("unknown outcome %d; the request is refused\n", (int)answer->outcome);
            return AUTHZ_FAILED;
    }
}

/* Takes the response of the answer. After an error there is always one, so that the caller does not wait. */
static void set_response(const sip_authz_answer *answer)
{
    int has_phrase = answer->phrase && answer->phrase[0];

    if (last.code == AUTHZ_ACCEPTED)
        return;
    if (last.code != AUTHZ_FAILED && answer->status == 0)
        return;
    if (answer->outcome != SIP_AUTHZ_ACCEPT && has_phrase && answer->status >= 300 && answer->status <= 699) {
        last.status = answer->status;
        last.phrase = answer->phrase;
        last.header_lines = answer->header_lines;
        return;
    }
    last.status = 503;
    last.phrase = "Service Unavailable";
}

int result_check(struct sip_msg *msg)
{
    if (is_last(msg))
        return last.code;
    result_clear();
    clear_avps();
    last.is_set = 1;
    last.id = msg->id;
    last.buffer = msg->buf;
    last.code = AUTHZ_FAILED;
    if (decider_ask(msg, &last.answer) == 0)
        last.code = code_of(msg, &last.answer);
    set_response(&last.answer);
    /* an accept that this module could not apply has no values that a script could trust */
    if (last.code == AUTHZ_FAILED && last.answer.outcome == SIP_AUTHZ_ACCEPT)
        sip_authz_answer_clear(&last.answer);
    if (set_avps(&last.answer) < 0) {
        LM_ERR("no memory for AVPs; the request is refused\n");
        clear_avps();
        last.code = AUTHZ_FAILED;
        set_response(&last.answer);
    }
    return last.code;
}

static int send_response(struct sip_msg *msg, int status, const char *phrase, const char *lines)
{
    str reason;

    if (lines && lines[0] && !add_lump_rpl(msg, (char *)lines, strlen(lines), LUMP_RPL_HDR)) {
        /* a challenge without its header would not be understood */
        LM_ERR("cannot add the header lines of the response %d\n", status);
        status = 500;
        phrase = "Server Internal Error";
    }
    reason.s = (char *)phrase;
    reason.len = strlen(phrase);
    return sl.freply(msg, status, &reason) > 0 ? AUTHZ_SENT : AUTHZ_NOT_SENT;
}

int result_reply(struct sip_msg *msg)
{
    if (!is_last(msg) || last.code == AUTHZ_ACCEPTED) {
        LM_ERR("authz_reply() needs a refusal by authz_check() before it\n");
        return send_response(msg, 500, "Server Internal Error", NULL);
    }
    if (last.status == 0)
        return AUTHZ_NO_RESPONSE;
    return send_response(msg, last.status, last.phrase, last.header_lines);
}
