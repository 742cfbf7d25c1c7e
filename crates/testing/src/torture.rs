//! The torture messages of RFC 4475 (§3) and RFC 5118 (§4): what the RFCs require, and what this
//! library does. The messages are in `tests/torture/`, byte for byte as printed in the RFCs.

use std::path::Path;

/// The classification of a message in its RFC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Well-formed: it must be accepted.
    Valid,
    /// Malformed: a request should be rejected, a response discarded.
    Malformed,
    /// Malformed, but an element may accept it.
    Tolerable,
}

/// The result of scanning a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// No defect.
    Fine,
    /// The text of the first defect.
    Defect(&'static str),
    /// Not a SIP message.
    NotSip,
}

/// One message.
pub struct Case {
    /// The file in `tests/torture/`, without the extension.
    pub file: &'static str,
    /// The section of the RFC.
    pub section: &'static str,
    pub intent: Intent,
    pub scan: Scan,
    /// Whether rsip parses it as a request.
    pub rsip: bool,
    /// The decision on the message, sent from inside the access list of [`HOSTS`]. The test turns other
    /// requests into an INVITE. `None` if there is no decision.
    pub decision: Option<&'static str>,
    /// The status that the program answers with (`--on-accept ok`). `None` if it does not answer.
    pub status: Option<u16>,
    /// The reason for a deviation from the RFC, or a remark.
    pub why: &'static str,
}

impl Case {
    pub fn bytes(&self) -> Vec<u8> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/torture");
        std::fs::read(folder.join(format!("{}.dat", self.file))).unwrap()
    }
}

/// The configured domains. All map an access list that contains the caller.
pub const HOSTS: [&str; 4] =
    ["example.com", "chair-dnrc.example.com", "company.com", "registrar.example.com"];

use Intent::{Malformed, Tolerable, Valid};
use Scan::{Defect, Fine, NotSip};

#[allow(clippy::too_many_arguments, reason = "one row of a table")]
const fn row(
    file: &'static str,
    section: &'static str,
    intent: Intent,
    scan: Scan,
    rsip: bool,
    decision: &'static str,
    status: u16,
    why: &'static str,
) -> Case {
    let decision = if decision.is_empty() { None } else { Some(decision) };
    let status = if status == 0 { None } else { Some(status) };
    Case { file, section, intent, scan, rsip, decision, status, why }
}

const SHORT: Scan = Defect("body shorter than its content-length");
const SPACES: Scan = Defect("spaces of the request line");
const URI: Scan = Defect("bad character in the request-uri");
const CSEQ: Scan = Defect("bad cseq");
const CSEQ_METHOD: Scan = Defect("cseq method is not the request's");

/// Well-formed messages that rsip cannot parse.
const RSIP_FOLDS: &str = "rsip reads no folded value that begins on the next line";
const RSIP_IPV6: &str = "rsip reads no IPv6 reference";
/// The program handles INVITE only.
const METHOD: &str = "not a method of the program";

/// All messages in the order of the RFCs. A status of 0 means no answer.
#[rustfmt::skip]
pub const CASES: [Case; 61] = [
    row("rfc4475/wsinv", "3.1.1.1", Valid, Fine, false, "accept", 481,
        "a To tag, and no such dialog; rsip reads no space before a colon"),
    row("rfc4475/intmeth", "3.1.1.2", Valid, Fine, false, "accept", 405,
        "not a method of the program; control characters in quotes are allowed, but rsip reads none"),
    row("rfc4475/esc01", "3.1.1.3", Valid, Fine, false, "unknown-host", 404, RSIP_FOLDS),
    row("rfc4475/escnull", "3.1.1.4", Valid, Fine, true, "accept", 405, METHOD),
    row("rfc4475/esc02", "3.1.1.5", Valid, Fine, false, "accept", 405,
        "an unknown method, which rsip does not read; 501 would say the same"),
    row("rfc4475/lwsdisp", "3.1.1.6", Valid, Fine, true, "accept", 200, ""),
    row("rfc4475/longreq", "3.1.1.7", Valid, Fine, false, "accept", 200,
        "rsip reads no space before a colon"),
    row("rfc4475/dblreq", "3.1.1.8", Valid, Fine, true, "accept", 405,
        "what follows the body is left alone"),
    row("rfc4475/semiuri", "3.1.1.9", Valid, Fine, false, "accept", 200,
        "rsip reads no `;` in a user"),
    row("rfc4475/transports", "3.1.1.10", Valid, Fine, true, "accept", 200, ""),
    row("rfc4475/mpart01", "3.1.1.11", Valid, Fine, true, "unknown-host", 405, METHOD),
    row("rfc4475/unreason", "3.1.1.12", Valid, Fine, false, "", 0, "a response"),
    row("rfc4475/noreason", "3.1.1.13", Valid, Fine, false, "", 0, "a response"),
    row("rfc4475/badinv01", "3.1.2.1", Malformed, Fine, true, "accept", 200,
        "a decision reads neither Via nor Contact; the program echoes a malformed Via as it came"),
    row("rfc4475/clerr", "3.1.2.2", Malformed, SHORT, true, "", 400, ""),
    row("rfc4475/ncl", "3.1.2.3", Malformed, Defect("bad content-length"), true, "", 400, ""),
    row("rfc4475/scalar02", "3.1.2.4", Malformed, CSEQ, false, "", 400, ""),
    row("rfc4475/scalarlg", "3.1.2.5", Malformed, CSEQ, false, "", 0, "a response"),
    row("rfc4475/quotbal", "3.1.2.6", Malformed, Fine, true, "accept", 200,
        "a decision does not read To; the program echoes a malformed To and adds a tag"),
    row("rfc4475/ltgtruri", "3.1.2.7", Tolerable, URI, true, "", 400, ""),
    row("rfc4475/lwsruri", "3.1.2.8", Tolerable, URI, false, "", 400, ""),
    row("rfc4475/lwsstart", "3.1.2.9", Tolerable, SPACES, false, "", 400, ""),
    row("rfc4475/trws", "3.1.2.10", Tolerable, Fine, false, "accept", 200,
        "spaces at the end of the request line are ignored in a datagram"),
    row("rfc4475/escruri", "3.1.2.11", Tolerable, Fine, false, "accept", 200,
        "the headers in the Request-URI are ignored; rsip takes them for a port"),
    row("rfc4475/baddate", "3.1.2.12", Tolerable, Fine, true, "accept", 200, "a decision does not read Date"),
    row("rfc4475/regbadct", "3.1.2.13", Tolerable, Fine, true, "accept", 405, METHOD),
    row("rfc4475/badaspec", "3.1.2.14", Tolerable, Fine, true, "unknown-host", 200,
        "a decision does not read To"),
    row("rfc4475/baddn", "3.1.2.15", Tolerable, Fine, true, "unknown-host", 200,
        "a decision does not read To"),
    row("rfc4475/badvers", "3.1.2.16", Malformed, Defect("unsupported sip version"), false, "", 505,
        "its Via is of version 7.0 too and is echoed as it came"),
    row("rfc4475/mismatch01", "3.1.2.17", Malformed, CSEQ_METHOD, true, "", 400, ""),
    row("rfc4475/mismatch02", "3.1.2.18", Malformed, CSEQ_METHOD, false, "", 400,
        "501 would do too"),
    row("rfc4475/bigcode", "3.1.2.19", Malformed, NotSip, false, "", 0, ""),
    row("rfc4475/badbranch", "3.2.1", Tolerable, Fine, true, "accept", 200,
        "a repeated request is known by all of its transaction's fields, not by the branch alone"),
    row("rfc4475/insuf", "3.3.1", Malformed, Defect("missing header `From`"), true, "", 400, ""),
    row("rfc4475/unkscm", "3.3.2", Valid, Fine, false, "unsupported-scheme", 416, ""),
    row("rfc4475/novelsc", "3.3.3", Valid, Fine, true, "unsupported-scheme", 416, ""),
    row("rfc4475/unksm2", "3.3.4", Valid, Fine, true, "accept", 405, METHOD),
    row("rfc4475/bext01", "3.3.5", Valid, Fine, true, "accept", 420, ""),
    row("rfc4475/invut", "3.3.6", Valid, Fine, true, "accept", 415, ""),
    row("rfc4475/regaut01", "3.3.7", Valid, Fine, true, "accept", 405, METHOD),
    row("rfc4475/multi01", "3.3.8", Malformed, Defect("repeated header `CSeq`"), true, "", 400, ""),
    row("rfc4475/mcl01", "3.3.9", Malformed, Defect("repeated header `Content-Length`"), true, "",
        400, ""),
    row("rfc4475/bcast", "3.3.10", Valid, Fine, false, "", 0, "a response"),
    row("rfc4475/zeromf", "3.3.11", Valid, Fine, true, "accept", 200, "nothing is forwarded"),
    row("rfc4475/cparam01", "3.3.12", Valid, Fine, true, "accept", 405, METHOD),
    row("rfc4475/cparam02", "3.3.13", Valid, Fine, true, "accept", 405, METHOD),
    row("rfc4475/regescrt", "3.3.14", Valid, Fine, true, "accept", 405, METHOD),
    row("rfc4475/sdp01", "3.3.15", Valid, Fine, true, "accept", 200,
        "the program does not read Accept; 406 would be right where it answers with SDP"),
    row("rfc4475/inv2543", "3.4.1", Valid, Fine, true, "accept", 200, ""),

    row("rfc5118/ipv6-good", "4.1", Valid, Fine, false, "unknown-host", 405, RSIP_IPV6),
    row("rfc5118/ipv6-bad", "4.2", Malformed, Fine, false, "bad-request-uri", 405,
        "the method is looked at before the Request-URI, for which an INVITE gets 400"),
    row("rfc5118/port-ambiguous", "4.3", Valid, Fine, false, "unknown-host", 405, RSIP_IPV6),
    row("rfc5118/port-unambiguous", "4.4", Valid, Fine, false, "unknown-host", 405, RSIP_IPV6),
    row("rfc5118/via-received-param-with-delim", "4.5", Valid, Fine, false, "unknown-host", 200,
        RSIP_IPV6),
    row("rfc5118/via-received-param-no-delim", "4.5", Valid, Fine, false, "unknown-host", 200,
        RSIP_IPV6),
    row("rfc5118/ipv6-in-sdp", "4.6", Valid, SHORT, false, "", 400,
        "the RFC prints a Content-Length of 268 and a body of 251 bytes; with 251 it is well-formed"),
    row("rfc5118/mult-ip-in-header", "4.7", Valid, Fine, true, "unknown-host", 200, ""),
    row("rfc5118/mult-ip-in-sdp", "4.8", Valid, Fine, false, "unknown-host", 404, RSIP_IPV6),
    row("rfc5118/ipv4-mapped-ipv6", "4.9", Valid, Fine, true, "accept", 200, ""),
    row("rfc5118/ipv6-bug-abnf-3-colons", "4.10", Tolerable, Fine, false, "bad-request-uri", 400,
        "stricter: three colons are no address by RFC 4291, and RFC 5954 took them out of the grammar"),
    row("rfc5118/ipv6-correct-abnf-2-colons", "4.10", Valid, Fine, false, "unknown-host", 200,
        RSIP_IPV6),
];
