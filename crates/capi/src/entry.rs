//! The functions of the interface.
//!
//! Each catches panics. Pointers that are not NULL must be valid as C demands, also those within structs.
#![allow(unsafe_code)]
// the header says what a caller owes: valid pointers, with as many items as their lengths say
#![allow(clippy::missing_safety_doc)]

use std::ffi::{CString, OsStr, c_char};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::ptr;
use std::time::Duration;

use crate::answer;
use crate::codes::{
    ResultCode, SIP_AUTHZ_ABI_VERSION, SIP_AUTHZ_ARGUMENT, SIP_AUTHZ_OK, SIP_AUTHZ_PANIC, text_of,
};
use crate::engine::Engine;
use crate::failure::Failure;
use crate::guard::{catch, enter};
use crate::handle::{Decider, Handle};
use crate::raw;
use crate::request::RequestParts;
use crate::service::Service;
use crate::types::{Answer, Counts, Options, Request};

/// The time for a decision of a service if the caller sets none.
const DEFAULT_TIMEOUT_MS: u32 = 1_000;

/// The version of the interface that the library has: `SIP_AUTHZ_ABI_VERSION` of its header.
#[unsafe(no_mangle)]
pub extern "C" fn sip_authz_abi_version() -> u32 {
    SIP_AUTHZ_ABI_VERSION
}

/// The version of the library, such as `"0.1.0"`.
#[unsafe(no_mangle)]
pub extern "C" fn sip_authz_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// The text of a result. Never NULL, and never freed.
#[unsafe(no_mangle)]
pub extern "C" fn sip_authz_result_text(result: ResultCode) -> *const c_char {
    text_of(result).as_ptr()
}

/// Opens a handle, and writes it to `handle`, or NULL after an error.
///
/// `where` is `"file:/etc/sip-authz/edge.toml"` for an engine in this process, or
/// `"unix:/run/sip-authz/decide.sock"` or `"tcp:127.0.0.1:5080"` for the client of a service, which connects at
/// its first request. An engine reads its file once. `options` may be NULL.
///
/// `error` may be NULL; else it gets the text of an error, cut to `error_size` and ended by NUL, or `""`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sip_authz_open(
    r#where: *const c_char,
    options: *const Options,
    handle: *mut *mut Handle,
    error: *mut c_char,
    error_size: usize,
) -> ResultCode {
    let open = || {
        // SAFETY: the caller's text is NULL, or ends with NUL.
        let location = unsafe { raw::text(r#where) };
        let location = location.ok_or_else(|| Failure::argument("`where` is NULL"))?;
        let too_small = || Failure::argument("struct_size of the options is too small");
        let options = match options.is_null() {
            true => None,
            // SAFETY: the options have as many bytes as they say.
            false => Some(unsafe { raw::read(options) }.ok_or_else(too_small)?),
        };
        // SAFETY: the token is NULL, or ends with NUL.
        let token = options.and_then(|options| unsafe { raw::text(options.token) });
        let timeout_ms = options.map_or(0, |options| options.timeout_ms);
        let timeout_ms = if timeout_ms == 0 { DEFAULT_TIMEOUT_MS } else { timeout_ms };
        decider_at(location, token, Duration::from_millis(timeout_ms.into()))
    };
    // SAFETY: the caller's pointers are NULL or valid.
    unsafe { finish_open(open, handle, error, error_size) }
}

fn decider_at(
    location: &[u8],
    token: Option<&[u8]>,
    timeout: Duration,
) -> Result<Decider, Failure> {
    if let Some(path) = location.strip_prefix(b"file:") {
        return Engine::from_file(Path::new(OsStr::from_bytes(path))).map(Decider::of);
    }
    if let Some(path) = location.strip_prefix(b"unix:") {
        return Service::unix(path, timeout).map(Decider::Service);
    }
    if let Some(address) = location.strip_prefix(b"tcp:") {
        return Service::tcp(address, token, timeout).map(Decider::Service);
    }
    let location = String::from_utf8_lossy(location);
    Err(Failure::argument(format!("expected file:, unix: or tcp:, got `{location}`")))
}

/// Opens an engine in this process from the text of a configuration. `handle` and `error` are as for
/// `sip_authz_open`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sip_authz_new(
    text: *const c_char,
    length: usize,
    handle: *mut *mut Handle,
    error: *mut c_char,
    error_size: usize,
) -> ResultCode {
    let open = || {
        // SAFETY: the caller's text has this length.
        let text = unsafe { config(text, length) }?;
        Engine::from_text(text).map(Decider::of)
    };
    // SAFETY: the caller's pointers are NULL or valid.
    unsafe { finish_open(open, handle, error, error_size) }
}

/// Replaces all records of an engine. Used nonces and guess limits stay. A wrong text changes nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sip_authz_replace(
    handle: *mut Handle,
    text: *const c_char,
    length: usize,
    error: *mut c_char,
    error_size: usize,
) -> ResultCode {
    // SAFETY: the caller's handle is NULL or open.
    let result = enter(unsafe { handle.as_ref() }, |handle| {
        let engine = handle.engine()?;
        // SAFETY: the text has this length.
        engine.replace(unsafe { config(text, length) }?)
    });
    // SAFETY: the error is NULL or has this size.
    unsafe { report(result, error, error_size) }
}

/// Adds the records of a text to an engine, or replaces those with the same SIDs, and removes the records
/// with the SIDs in `removed`; all or nothing. Each is a text that ends with NUL.
///
/// The text is a whole configuration: a domain names lists of the same text. A domain or trunk is replaced
/// with its policy and its lists. A list keeps the addresses and credentials that the text does not have.
/// A removed domain or trunk takes its policy with it, and a removed list its addresses or credentials. A
/// list that a domain names cannot be removed. The text may have the length 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sip_authz_apply(
    handle: *mut Handle,
    text: *const c_char,
    length: usize,
    removed: *const *const c_char,
    removed_count: usize,
    error: *mut c_char,
    error_size: usize,
) -> ResultCode {
    // SAFETY: the caller's handle is NULL or open.
    let result = enter(unsafe { handle.as_ref() }, |handle| {
        let engine = handle.engine()?;
        let wrong = || Failure::argument("`removed` is NULL or has NULL in it");
        // SAFETY: there are so many pointers.
        let removed = unsafe { raw::slice(removed, removed_count) }.ok_or_else(wrong)?;
        // SAFETY: each is NULL, or a text that ends with NUL.
        let sids = removed.iter().map(|sid| unsafe { raw::text(*sid) });
        let sids = sids.collect::<Option<Vec<_>>>().ok_or_else(wrong)?;
        // SAFETY: the text has this length.
        engine.apply(unsafe { config(text, length) }?, &sids)
    });
    // SAFETY: the error is NULL or has this size.
    unsafe { report(result, error, error_size) }
}

/// Decides a request, and writes the answer. It waits for a service as long as `timeout_ms`.
///
/// After an error the answer is a refusal too: status 503, or 400 or 513 if the request is at fault. A host
/// that compares the outcome alone with `SIP_AUTHZ_ACCEPT` lets nothing pass by an error. A request is sent to
/// a service once at most; the caller's next attempt is a new request.
///
/// Call `sip_authz_answer_clear` once for each answer, also after an error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sip_authz_decide(
    handle: *mut Handle,
    request: *const Request,
    answer: *mut Answer,
) -> ResultCode {
    // a refusal until there is another answer
    // SAFETY: the caller's answer is NULL, or has as many bytes as it says.
    if !unsafe { raw::write(answer, &answer::unavailable()) } {
        // SAFETY: as above.
        unsafe { raw::refuse(answer) };
        return SIP_AUTHZ_ARGUMENT;
    }
    // SAFETY: the caller's pointers are NULL or valid.
    let handle = unsafe { handle.as_ref() };
    let result = enter(handle, |handle| {
        // SAFETY: the pointers of the request have as many items as it says.
        let result =
            unsafe { RequestParts::read(request) }.and_then(|request| handle.decide(&request));
        handle.count(&result);
        result
    });
    let written = catch(|| {
        let (code, flat) = match result {
            Ok(flat) => (SIP_AUTHZ_OK, flat.into_c()),
            Err(failure) => (failure.code, answer::refusal(&failure)),
        };
        // SAFETY: as above. The size is as it was.
        unsafe { raw::write(answer, &flat) };
        Ok(code)
    });
    written.unwrap_or(SIP_AUTHZ_PANIC)
}

/// Frees the texts of an answer, and empties it. NULL is allowed, and a second call does no harm.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sip_authz_answer_clear(answer: *mut Answer) {
    // SAFETY: the caller's answer is NULL, or has as many bytes as it says.
    let Some(old) = (unsafe { raw::read(answer) }) else { return };
    // the texts are gone before their memory is
    // SAFETY: as above.
    unsafe { raw::write(answer, &answer::empty()) };
    // nothing in it can panic, and there is nothing more to do with the memory
    let _ = catch(|| {
        // SAFETY: the memory is NULL, or of an answer that `sip_authz_decide` has written.
        unsafe { answer::free(old.memory) };
        Ok(())
    });
}

/// Explains how an engine would decide a request, and changes nothing. Writes a text to `text`, or NULL after
/// an error. Free it by `sip_authz_text_free`.
///
/// The text is for operators: it says whether a password was right. Do not send it to a caller.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sip_authz_explain(
    handle: *mut Handle,
    request: *const Request,
    text: *mut *mut c_char,
) -> ResultCode {
    if text.is_null() {
        return SIP_AUTHZ_ARGUMENT;
    }
    // SAFETY: the caller's handle is NULL or open.
    let result = enter(unsafe { handle.as_ref() }, |handle| {
        let engine = handle.engine()?;
        // SAFETY: the pointers of the request have as many items as it says.
        let question = unsafe { RequestParts::read(request) }?.encode(0)?;
        let explained = engine.explain(&question)?.replace('\0', "\u{fffd}");
        CString::new(explained).map_err(|error| Failure::request(error.to_string()))
    });
    let (code, explained) = match result {
        Ok(explained) => (SIP_AUTHZ_OK, explained.into_raw()),
        Err(failure) => (failure.code, ptr::null_mut()),
    };
    // SAFETY: the pointer is not NULL, so it is valid.
    unsafe { text.write(explained) };
    code
}

/// Frees a text of `sip_authz_explain`. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sip_authz_text_free(text: *mut c_char) {
    if !text.is_null() {
        // SAFETY: the text is from `CString::into_raw`.
        drop(unsafe { CString::from_raw(text) });
    }
}

/// Counts the decisions of a handle, and writes them to `counts`. Set its `struct_size` first.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sip_authz_count(handle: *mut Handle, counts: *mut Counts) -> ResultCode {
    // SAFETY: the caller's pointers are NULL or valid.
    let result = enter(unsafe { handle.as_ref() }, |handle| Ok(handle.counts()));
    match result {
        // SAFETY: the counts are NULL, or have as many bytes as they say.
        Ok(found) => match unsafe { raw::write(counts, &found) } {
            true => SIP_AUTHZ_OK,
            false => SIP_AUTHZ_ARGUMENT,
        },
        Err(failure) => failure.code,
    }
}

/// Frees a handle and closes its connections. No other thread may use it any more. NULL is allowed. In a child
/// of a fork the connections of the parent go on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sip_authz_free(handle: *mut Handle) {
    if handle.is_null() {
        return;
    }
    // a panic leaves memory behind, and there is nothing more to do with the handle
    let _ = catch(|| {
        // SAFETY: the handle is from `Box::into_raw`, and the caller does not use it any more.
        let handle = unsafe { Box::from_raw(handle) };
        handle.end();
        Ok(())
    });
}

/// The text of a configuration.
///
/// # Safety
///
/// `text` is NULL or has this length.
unsafe fn config<'a>(text: *const c_char, length: usize) -> Result<&'a [u8], Failure> {
    // SAFETY: as the caller promises.
    let text = unsafe { raw::bytes(text, length) };
    text.ok_or_else(|| Failure::argument("the text is NULL or its length wrong"))
}

/// Makes a handle, and writes it and the text of an error.
///
/// # Safety
///
/// The pointers are NULL or valid, and `error` has this size.
unsafe fn finish_open(
    open: impl FnOnce() -> Result<Decider, Failure>,
    handle: *mut *mut Handle,
    error: *mut c_char,
    error_size: usize,
) -> ResultCode {
    let opened = match handle.is_null() {
        true => Err(Failure::argument("`handle` is NULL")),
        false => {
            // SAFETY: the pointer is not NULL, so it is valid.
            unsafe { handle.write(ptr::null_mut()) };
            catch(|| Ok(Box::new(Handle::new(open()?)?)))
        }
    };
    let result = opened.map(|opened| {
        // SAFETY: it is not NULL, or nothing would have been opened.
        unsafe { handle.write(Box::into_raw(opened)) };
    });
    // SAFETY: as the caller promises.
    unsafe { report(result, error, error_size) }
}

/// Writes the text of an error, or an empty text, and returns the result.
///
/// # Safety
///
/// `error` is NULL or has this size.
unsafe fn report(result: Result<(), Failure>, error: *mut c_char, error_size: usize) -> ResultCode {
    let (code, detail) = match &result {
        Ok(()) => (SIP_AUTHZ_OK, ""),
        Err(failure) => (failure.code, &*failure.detail),
    };
    let text = match (code, detail) {
        (SIP_AUTHZ_OK, _) => "",
        (_, "") => text_of(code).to_str().unwrap_or_default(),
        (_, detail) => detail,
    };
    // SAFETY: as the caller promises.
    unsafe { raw::put_text(error, error_size, text) };
    code
}
