/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Mode `process`: a process of Kamailio that runs `sip-authz serve` and starts it again when it ends.
 */
#ifndef AUTHZ_SUPERVISOR_H
#define AUTHZ_SUPERVISOR_H

/* Checks the parameters and reserves the process. Returns -1 after an error. */
int supervisor_init(void);

/* The address of the decision process, after supervisor_init(). */
const char *supervisor_address(void);

/* Forks the process; for PROC_MAIN. Returns -1 after an error. */
int supervisor_start(void);

/* Sends SIGHUP to the decision process. Returns -1 if there is no supervisor. */
int supervisor_reload(void);

#endif
