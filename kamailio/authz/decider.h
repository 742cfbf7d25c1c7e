/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The connection of this process to the decision service.
 */
#ifndef AUTHZ_DECIDER_H
#define AUTHZ_DECIDER_H

#include <sip_authz.h>

#include "../../core/parser/msg_parser.h"

/* Checks the address and reads the token, before Kamailio forks. Returns -1 after an error. */
int decider_init(const char *address);

/* Opens the handle of this process, if it has none. Returns -1 after an error. */
int decider_open(void);

void decider_close(void);

/* Asks about a request as received. Returns 0 if `answer` is an answer of the service. After an error, -1:
 * `answer` is then a refusal, or empty. The caller clears the answer in each case. */
int decider_ask(struct sip_msg *msg, sip_authz_answer *answer);

#endif
