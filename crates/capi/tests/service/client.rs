//! A handle, as C uses it.

use std::ffi::{CStr, CString, c_char};
use std::ptr::null_mut;

use sip_authz_capi::*;

/// A handle of a service. All threads share it.
pub(crate) struct Client(*mut Handle);

unsafe impl Send for Client {}
unsafe impl Sync for Client {}

/// An answer, copied from C.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) result: ResultCode,
    pub(crate) outcome: i32,
    pub(crate) status: i32,
    pub(crate) is_retransmission: i32,
    pub(crate) used_header: (i32, String),
    pub(crate) phrase: String,
    pub(crate) header_lines: String,
    pub(crate) account: String,
    pub(crate) target: (String, String),
    pub(crate) user: String,
    pub(crate) permissions: String,
    pub(crate) reason: String,
    pub(crate) cause: String,
}

impl Client {
    pub(crate) fn open(location: &str, timeout_ms: u32, token: Option<&str>) -> Self {
        Self::try_open(location, timeout_ms, token).unwrap()
    }

    pub(crate) fn try_open(
        location: &str,
        timeout_ms: u32,
        token: Option<&str>,
    ) -> Result<Self, (ResultCode, String)> {
        let (location, token) =
            (CString::new(location).unwrap(), token.map(|token| CString::new(token).unwrap()));
        let options = Options {
            struct_size: size_of::<Options>().try_into().unwrap(),
            timeout_ms,
            token: token.as_ref().map_or(null_mut::<c_char>().cast_const(), |it| it.as_ptr()),
        };
        let mut handle = null_mut();
        let mut error = [0x55; 200];
        let result = unsafe {
            sip_authz_open(
                location.as_ptr(),
                &raw const options,
                &raw mut handle,
                error.as_mut_ptr().cast(),
                error.len(),
            )
        };
        if result == SIP_AUTHZ_OK {
            assert!(!handle.is_null());
            return Ok(Self(handle));
        }
        assert!(handle.is_null());
        let text = CStr::from_bytes_until_nul(&error).unwrap().to_str().unwrap();
        Err((result, text.to_owned()))
    }

    /// Decides a message over UDP.
    pub(crate) fn decide(&self, message: &str) -> Answered {
        // an invalid value is also a request without anything else
        let mut request: Request = unsafe { std::mem::zeroed() };
        request.struct_size = size_of::<Request>().try_into().unwrap();
        request.transport = SIP_AUTHZ_UDP;
        let ip = [192, 0, 2, 1];
        (request.source_ip, request.source_ip_length) = (ip.as_ptr(), ip.len());
        request.source_port = 5060;
        (request.message, request.message_length) = (message.as_ptr().cast(), message.len());
        let mut answer: Answer = unsafe { std::mem::zeroed() };
        answer.struct_size = size_of::<Answer>().try_into().unwrap();
        let result = unsafe { sip_authz_decide(self.0, &raw const request, &raw mut answer) };
        let text = |text: *const c_char| {
            assert!(!text.is_null());
            unsafe { CStr::from_ptr(text) }.to_str().unwrap().to_owned()
        };
        let answered = Answered {
            result,
            outcome: answer.outcome,
            status: answer.status,
            is_retransmission: answer.is_retransmission,
            used_header: (answer.used_header_index, text(answer.used_header_name)),
            phrase: text(answer.phrase),
            header_lines: text(answer.header_lines),
            account: text(answer.account),
            target: (text(answer.target), text(answer.target_name)),
            user: text(answer.user),
            permissions: text(answer.permissions),
            reason: text(answer.reason),
            cause: text(answer.cause),
        };
        unsafe { sip_authz_answer_clear(&raw mut answer) };
        if result != SIP_AUTHZ_OK {
            assert_eq!(answered.outcome, SIP_AUTHZ_UNDECIDED, "{answered:?}");
        }
        answered
    }

    pub(crate) fn counts(&self) -> Counts {
        let mut counts: Counts = unsafe { std::mem::zeroed() };
        counts.struct_size = size_of::<Counts>().try_into().unwrap();
        assert_eq!(unsafe { sip_authz_count(self.0, &raw mut counts) }, SIP_AUTHZ_OK);
        counts
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        unsafe { sip_authz_free(self.0) };
    }
}
