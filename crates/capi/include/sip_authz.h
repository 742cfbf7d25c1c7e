/* libsip_authz: decides whether a SIP request may pass, or asks a decision service.
 *
 * Unstable until 1.0: names and structs may change with each version.
 *
 * Pointers must be valid, and have as many items as their lengths say. Any thread may call any function with
 * any handle, except sip_authz_free. Fork first, then open: a handle refuses in a child of its process.
 *
 * cbindgen makes this file from crates/capi.
 */

#ifndef SIP_AUTHZ_H
#define SIP_AUTHZ_H


#define SIP_AUTHZ_MAJOR 0
#define SIP_AUTHZ_MINOR 1
#define SIP_AUTHZ_PATCH 0


#include <stddef.h>
#include <stdint.h>

// The version of this interface. It is unstable until 1.0: compare it with `sip_authz_abi_version()`.
#define SIP_AUTHZ_ABI_VERSION 1

// Success.
#define SIP_AUTHZ_OK 0

// An argument is wrong.
#define SIP_AUTHZ_ARGUMENT 1

// The configuration is wrong.
#define SIP_AUTHZ_CONFIG 2

// The system refused a file, memory or random numbers.
#define SIP_AUTHZ_SYSTEM 3

// There is no connection to the service, or it ended.
#define SIP_AUTHZ_UNREACHABLE 4

// The service did not answer in time.
#define SIP_AUTHZ_TIMEOUT 5

// The service sent something other than an answer to the request.
#define SIP_AUTHZ_PROTOCOL 6

// The service refused this client: its user, token, version or number of connections.
#define SIP_AUTHZ_REFUSED 7

// The request does not fit into a frame.
#define SIP_AUTHZ_TOO_LONG 8

// Another process opened the handle: fork first, then open.
#define SIP_AUTHZ_OTHER_PROCESS 9

// This kind of handle does not have the function.
#define SIP_AUTHZ_UNSUPPORTED 10

// An earlier call failed within the library, so the handle refuses.
#define SIP_AUTHZ_POISONED 11

// This call failed within the library, and poisoned the handle.
#define SIP_AUTHZ_PANIC 12

// The request may pass. Every other outcome is a refusal.
#define SIP_AUTHZ_ACCEPT 1

// Credentials are needed.
#define SIP_AUTHZ_CHALLENGE 2

// The request must not pass.
#define SIP_AUTHZ_REJECT 3

// The message is not well-formed or of a kind that is not decided, or an error prevented a decision.
#define SIP_AUTHZ_UNDECIDED 4

// Too many requests wait at the service; nothing was decided.
#define SIP_AUTHZ_OVERLOADED 5

// UDP.
#define SIP_AUTHZ_UDP 1

// TCP.
#define SIP_AUTHZ_TCP 2

// TLS over TCP.
#define SIP_AUTHZ_TLS 3

// SCTP.
#define SIP_AUTHZ_SCTP 4

// TLS over SCTP.
#define SIP_AUTHZ_TLS_SCTP 5

// WebSocket.
#define SIP_AUTHZ_WS 6

// WebSocket over TLS.
#define SIP_AUTHZ_WSS 7

// A decider: an engine in this process, or the client of a decision service. All threads of the process
// can use it at the same time.
typedef struct sip_authz sip_authz;

// The result of a function: `SIP_AUTHZ_OK`, or an error.
typedef int32_t sip_authz_result;

// Settings of `sip_authz_open`. Only services use them.
typedef struct sip_authz_options {
    // `sizeof(struct sip_authz_options)`.
    uint32_t struct_size;
    // The time for a decision of a service, with the time to connect, in milliseconds. 0 means 1000.
    uint32_t timeout_ms;
    // The token of a `tcp:` service, ended by NUL; NULL for none. The library keeps a copy.
    const char *token;
} sip_authz_options;

// A header of a request. This struct never changes.
typedef struct sip_authz_header {
    // The name, without the colon.
    const char *name;
    // The length of the name.
    size_t name_length;
    // The value.
    const char *value;
    // The length of the value.
    size_t value_length;
} sip_authz_header;

// A request from outside a dialog. Set the struct to zeros first, then `struct_size`. Pointers with the
// length 0 may be NULL.
typedef struct sip_authz_request {
    // `sizeof(struct sip_authz_request)`.
    uint32_t struct_size;
    // `SIP_AUTHZ_UDP` and so on: how the host received the request.
    int32_t transport;
    // The source address of the request, 4 or 16 bytes in network order.
    const uint8_t *source_ip;
    // 4 or 16.
    size_t source_ip_length;
    // The source port, in the byte order of the host.
    uint16_t source_port;
    // The message as received. NULL if the parts below are set.
    const char *message;
    // The length of the message.
    size_t message_length;
    // The method of a parsed request.
    const char *method;
    // The length of the method.
    size_t method_length;
    // The Request-URI as received, not unescaped.
    const char *uri;
    // The length of the Request-URI.
    size_t uri_length;
    // All headers in the order of the message, repeated ones too.
    const struct sip_authz_header *headers;
    // The number of headers.
    size_t header_count;
    // The body.
    const char *body;
    // The length of the body.
    size_t body_length;
} sip_authz_request;

// The answer to a request. Set the struct to zeros first, then `struct_size`.
//
// After `sip_authz_decide` no text is NULL, and each ends with NUL: `""` if there is none. They are valid
// until `sip_authz_answer_clear`.
typedef struct sip_authz_answer {
    // `sizeof(struct sip_authz_answer)`.
    uint32_t struct_size;
    // `SIP_AUTHZ_ACCEPT` and so on. Everything but `SIP_AUTHZ_ACCEPT` is a refusal.
    int32_t outcome;
    // The status of the response; 0 if there is no response.
    int32_t status;
    // 1 for a retransmission of an accepted request, which is no new call.
    int32_t is_retransmission;
    // The credentials header that admitted the request: its index among the headers of its name, from 0;
    // -1 for none. Remove it before the request is forwarded.
    int32_t used_header_index;
    // The name of that header.
    const char *used_header_name;
    // The reason phrase of the status.
    const char *phrase;
    // All header lines for the response, each with CRLF.
    const char *header_lines;
    // The SID of the account, of an accept.
    const char *account;
    // The SID of the domain or trunk of the Request-URI.
    const char *target;
    // Its host name.
    const char *target_name;
    // The proved user name, of an accept by digest.
    const char *user;
    // The permissions of the caller, separated by commas.
    const char *permissions;
    // The reason, for logs only. After an error the text of the result.
    const char *reason;
    // The internal cause, for logs only. After an error its detail.
    const char *cause;
    // The memory of the texts. It belongs to the library.
    void *memory;
} sip_authz_answer;

// The number of decisions of a handle.
typedef struct sip_authz_counts {
    // `sizeof(struct sip_authz_counts)`.
    uint32_t struct_size;
    // Answers with the outcome `SIP_AUTHZ_ACCEPT`.
    uint64_t accepted;
    // Answers with the outcome `SIP_AUTHZ_CHALLENGE`.
    uint64_t challenged;
    // Answers with the outcome `SIP_AUTHZ_REJECT`.
    uint64_t rejected;
    // Answers with the outcome `SIP_AUTHZ_UNDECIDED`, without those after an error.
    uint64_t undecided;
    // Errors, and answers with the outcome `SIP_AUTHZ_OVERLOADED`.
    uint64_t failed;
} sip_authz_counts;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The version of the interface that the library has: `SIP_AUTHZ_ABI_VERSION` of its header.
uint32_t sip_authz_abi_version(void);

// The version of the library, such as `"0.1.0"`.
const char *sip_authz_version(void);

// The text of a result. Never NULL, and never freed.
const char *sip_authz_result_text(sip_authz_result result);

// Opens a handle, and writes it to `handle`, or NULL after an error.
//
// `where` is `"file:/etc/sip-authz/edge.toml"` for an engine in this process, or
// `"unix:/run/sip-authz/decide.sock"` or `"tcp:127.0.0.1:5080"` for the client of a service, which connects at
// its first request. An engine reads its file once. `options` may be NULL.
//
// `error` may be NULL; else it gets the text of an error, cut to `error_size` and ended by NUL, or `""`.
sip_authz_result sip_authz_open(const char *where,
                                const struct sip_authz_options *options,
                                struct sip_authz **handle,
                                char *error,
                                size_t error_size);

// Opens an engine in this process from the text of a configuration. `handle` and `error` are as for
// `sip_authz_open`.
sip_authz_result sip_authz_new(const char *text,
                               size_t length,
                               struct sip_authz **handle,
                               char *error,
                               size_t error_size);

// Replaces all records of an engine. Used nonces and guess limits stay. A wrong text changes nothing.
sip_authz_result sip_authz_replace(struct sip_authz *handle,
                                   const char *text,
                                   size_t length,
                                   char *error,
                                   size_t error_size);

// Adds the records of a text to an engine, or replaces those with the same SIDs, and removes the records
// with the SIDs in `removed`; all or nothing. Each is a text that ends with NUL.
//
// The text is a whole configuration: a domain names lists of the same text. A domain or trunk is replaced
// with its policy and its lists. A list keeps the addresses and credentials that the text does not have.
// A removed domain or trunk takes its policy with it, and a removed list its addresses or credentials. A
// list that a domain names cannot be removed. The text may have the length 0.
sip_authz_result sip_authz_apply(struct sip_authz *handle,
                                 const char *text,
                                 size_t length,
                                 const char *const *removed,
                                 size_t removed_count,
                                 char *error,
                                 size_t error_size);

// Decides a request, and writes the answer. It waits for a service as long as `timeout_ms`.
//
// After an error the answer is a refusal too: status 503, or 400 or 513 if the request is at fault. A host
// that compares the outcome alone with `SIP_AUTHZ_ACCEPT` lets nothing pass by an error. A request is sent to
// a service once at most; the caller's next attempt is a new request.
//
// Call `sip_authz_answer_clear` once for each answer, also after an error.
sip_authz_result sip_authz_decide(struct sip_authz *handle,
                                  const struct sip_authz_request *request,
                                  struct sip_authz_answer *answer);

// Frees the texts of an answer, and empties it. NULL is allowed, and a second call does no harm.
void sip_authz_answer_clear(struct sip_authz_answer *answer);

// Explains how an engine would decide a request, and changes nothing. Writes a text to `text`, or NULL after
// an error. Free it by `sip_authz_text_free`.
//
// The text is for operators: it says whether a password was right. Do not send it to a caller.
sip_authz_result sip_authz_explain(struct sip_authz *handle,
                                   const struct sip_authz_request *request,
                                   char **text);

// Frees a text of `sip_authz_explain`. NULL is allowed.
void sip_authz_text_free(char *text);

// Counts the decisions of a handle, and writes them to `counts`. Set its `struct_size` first.
sip_authz_result sip_authz_count(struct sip_authz *handle, struct sip_authz_counts *counts);

// Frees a handle and closes its connections. No other thread may use it any more. NULL is allowed. In a child
// of a fork the connections of the parent go on.
void sip_authz_free(struct sip_authz *handle);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* SIP_AUTHZ_H */
