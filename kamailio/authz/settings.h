/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The parameters of the module. README.md describes them.
 */
#ifndef AUTHZ_SETTINGS_H
#define AUTHZ_SETTINGS_H

#include "../../core/str.h"

struct authz_settings {
    char *mode;
    char *service;
    char *token_file;
    int timeout; /* milliseconds */
    str prefix;  /* of the names of the AVPs */
    char *program;
    char *config;
    char *options;
    char *socket;
};

extern struct authz_settings authz_settings;

#endif
