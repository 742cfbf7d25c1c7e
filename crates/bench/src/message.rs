//! The requests, written into a reused buffer.

use md5::{Digest as _, Md5};

/// The constant part of the requests.
#[derive(Debug)]
pub struct Template {
    /// The method.
    pub method: &'static str,
    /// The Request-URI.
    pub uri: String,
    /// The address of the caller, for the Via.
    pub caller: String,
    /// The user in From, Contact and the credentials.
    pub user: String,
    /// Distinguishes the requests of one socket from those of others.
    pub lane: usize,
    /// The body, which is SDP.
    pub body: &'static str,
}

/// The parameters of a challenge and of its answers.
pub struct Credentials {
    before_count: String,
    after_count: String,
    after_response: String,
    /// HA1 and the nonce, the start of the hash input for each response.
    start: String,
    /// The client nonce, qop and HA2, the end of the hash input.
    end: String,
    count: u32,
}

const CNONCE: &str = "0a4f113b";

impl Credentials {
    /// The credentials for a challenge, the text of a message or its header lines behind a line end.
    /// Returns `None` if the answer is not a challenge for MD5 with qop auth.
    pub fn answering(challenge: &[u8], request: &Template, password: &str) -> Option<Self> {
        let text = str::from_utf8(challenge).ok()?;
        let name = if text.contains("\r\nWWW-Authenticate:") {
            "Authorization"
        } else {
            "Proxy-Authorization"
        };
        let quoted = |name: &str| {
            let (_, rest) = text.split_once(&format!("{name}=\""))?;
            Some(rest.split_once('"')?.0)
        };
        let (realm, nonce) = (quoted("realm")?, quoted("nonce")?);
        quoted("qop")?;
        let Template { method, uri, user, .. } = request;
        let ha1 = hex::encode(Md5::digest(format!("{user}:{realm}:{password}")));
        let ha2 = hex::encode(Md5::digest(format!("{method}:{uri}")));
        Some(Self {
            before_count: format!(
                "{name}: Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", \
                 uri=\"{uri}\", algorithm=MD5, qop=auth, nc="
            ),
            after_count: format!(", cnonce=\"{CNONCE}\", response=\""),
            after_response: "\"\r\n".to_owned(),
            start: format!("{ha1}:{nonce}:"),
            end: format!(":{CNONCE}:auth:{ha2}"),
            count: 0,
        })
    }

    fn write(&mut self, out: &mut Vec<u8>) {
        self.count = self.count.wrapping_add(1);
        let mut count = [0; 8];
        let mut response = [0; 32];
        // both buffers have two digits for each byte
        let _ = hex::encode_to_slice(self.count.to_be_bytes(), &mut count);
        let hash = Md5::new_with_prefix(&self.start).chain_update(count).chain_update(&self.end);
        let _ = hex::encode_to_slice(hash.finalize(), &mut response);
        for part in [
            self.before_count.as_bytes(),
            &count,
            self.after_count.as_bytes(),
            &response,
            self.after_response.as_bytes(),
        ] {
            out.extend_from_slice(part);
        }
    }
}

impl Template {
    /// Writes the request with this number.
    pub fn write(&self, number: u32, credentials: Option<&mut Credentials>, out: &mut Vec<u8>) {
        let Self { method, uri, caller, user, lane, body } = self;
        let mut digits = [0; 8];
        let _ = hex::encode_to_slice(number.to_be_bytes(), &mut digits);
        let lane = lane.to_string();
        let mut put = |parts: &[&str]| {
            parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
        };
        let number = str::from_utf8(&digits).unwrap_or_default();
        put(&[method, " ", uri, " SIP/2.0\r\nVia: SIP/2.0/UDP ", caller, ";branch=z9hG4bK-"]);
        put(&[&lane, "-", number, ";rport\r\nMax-Forwards: 70\r\nFrom: \"Load\" <sip:", user, "@"]);
        put(&[caller, ">;tag=", number, "\r\nTo: <", uri, ">\r\nCall-ID: ", number, "-", &lane]);
        put(&["@", caller, "\r\nCSeq: 1 ", method, "\r\nContact: <sip:", user, "@", caller]);
        put(&[">\r\nUser-Agent: load\r\nAllow: INVITE, ACK, CANCEL, BYE, OPTIONS\r\n"]);
        if let Some(credentials) = credentials {
            credentials.write(out);
        }
        let length = body.len().to_string();
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        for part in [kind, "Content-Length: ", &length, "\r\n\r\n", body] {
            out.extend_from_slice(part.as_bytes());
        }
    }
}
