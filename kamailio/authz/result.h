/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The decision about the current request: its return code, AVPs, used header and response.
 */
#ifndef AUTHZ_RESULT_H
#define AUTHZ_RESULT_H

#include "../../core/parser/msg_parser.h"

/* Return codes of authz_check(). Only the first one is true in a script. 0 would end the script. */
#define AUTHZ_ACCEPTED 1
#define AUTHZ_CHALLENGED -1
#define AUTHZ_REJECTED -2
#define AUTHZ_UNDECIDED -3
#define AUTHZ_OVERLOADED -4
#define AUTHZ_FAILED -5

/* Return codes of authz_reply(). */
#define AUTHZ_SENT 1
#define AUTHZ_NO_RESPONSE 2
#define AUTHZ_NOT_SENT -1

/* Loads the API of the module sl, and prepares the names of the AVPs. Returns -1 after an error. */
int result_init(void);

/* Decides a request, once: later calls for the same request return the same code. */
int result_check(struct sip_msg *msg);

/* Sends the response of the last decision. */
int result_reply(struct sip_msg *msg);

void result_clear(void);

#endif
