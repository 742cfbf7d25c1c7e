/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The Kamailio module `authz`: its parameters, script functions and RPC command.
 */

#include <string.h>

#include <sip_authz.h>

#include "../../core/cfg/cfg.h"
#include "../../core/dprint.h"
#include "../../core/pt.h"
#include "../../core/rpc.h"
#include "../../core/sr_module.h"

#include "decider.h"
#include "result.h"
#include "settings.h"
#include "supervisor.h"

MODULE_VERSION

struct authz_settings authz_settings = {
    .mode = "service",
    .service = "unix:/run/sip-authz/decide.sock",
    .token_file = "",
    .timeout = 500,
    .prefix = STR_STATIC_INIT("authz_"),
    .program = "sip-authz",
    .config = "",
    .options = "--api off",
    .socket = "/run/kamailio/authz/decide.sock",
};

static int is_process_mode;

static int check_settings(void)
{
    struct authz_settings *settings = &authz_settings;

    settings->prefix.len = strlen(settings->prefix.s);
    if (strcmp(settings->mode, "process") == 0) {
        is_process_mode = 1;
    } else if (strcmp(settings->mode, "service") != 0) {
        LM_ERR("mode: expected \"service\" or \"process\", found \"%s\"\n", settings->mode);
        return -1;
    }
    if (settings->timeout < 1 || settings->timeout > 60000) {
        LM_ERR("timeout: expected 1 to 60000 ms, found %d\n", settings->timeout);
        return -1;
    }
    return 0;
}

static int mod_init(void)
{
    if (sip_authz_abi_version() != SIP_AUTHZ_ABI_VERSION) {
        LM_ERR("expected libsip_authz with ABI version %u, found version %u: build the module again\n",
                (unsigned int)SIP_AUTHZ_ABI_VERSION, (unsigned int)sip_authz_abi_version());
        return -1;
    }
    if (check_settings() < 0 || result_init() < 0)
        return -1;
    if (!is_process_mode)
        return decider_init(authz_settings.service);
    if (supervisor_init() < 0)
        return -1;
    return decider_init(supervisor_address());
}

static int child_init(int rank)
{
    if (rank == PROC_MAIN && is_process_mode)
        return supervisor_start();
    /* Processes that route requests have a positive rank. Fork first, then open: PROC_INIT and PROC_MAIN
     * are the parent of all others. */
    if (rank > 0)
        return decider_open();
    return 0;
}

static void mod_destroy(void)
{
    result_clear();
    decider_close();
}

static int authz_check(struct sip_msg *msg, char *unused1, char *unused2)
{
    return result_check(msg);
}

static int authz_reply(struct sip_msg *msg, char *unused1, char *unused2)
{
    return result_reply(msg);
}

static void rpc_reload(rpc_t *rpc, void *context)
{
    if (!is_process_mode)
        rpc->fault(context, 400, "The service is another program: reload it with SIGHUP");
    else if (supervisor_reload() < 0)
        rpc->fault(context, 500, "The decision process is not supervised");
}

static const char *rpc_reload_doc[] = {"Reload the configuration of the decision process (SIGHUP)", 0};

static rpc_export_t rpc_commands[] = {
    {"authz.reload", rpc_reload, rpc_reload_doc, 0},
    {0, 0, 0, 0},
};

static cmd_export_t commands[] = {
    {"authz_check", (cmd_function)authz_check, 0, 0, 0, REQUEST_ROUTE},
    {"authz_reply", (cmd_function)authz_reply, 0, 0, 0, REQUEST_ROUTE},
    {0, 0, 0, 0, 0, 0},
};

static param_export_t parameters[] = {
    {"mode", PARAM_STRING, &authz_settings.mode},
    {"service", PARAM_STRING, &authz_settings.service},
    {"token_file", PARAM_STRING, &authz_settings.token_file},
    {"timeout", PARAM_INT, &authz_settings.timeout},
    {"prefix", PARAM_STR, &authz_settings.prefix},
    {"program", PARAM_STRING, &authz_settings.program},
    {"config", PARAM_STRING, &authz_settings.config},
    {"options", PARAM_STRING, &authz_settings.options},
    {"socket", PARAM_STRING, &authz_settings.socket},
    {0, 0, 0},
};

struct module_exports exports = {
    "authz", DEFAULT_DLFLAGS, commands, parameters, rpc_commands, 0, 0, mod_init, child_init, mod_destroy,
};
