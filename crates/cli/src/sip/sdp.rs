//! Session descriptions that decline all media (RFC 3264 §6: port 0 declines a stream).

use std::net::IpAddr;

/// The content type of session descriptions.
pub(crate) const CONTENT_TYPE: &str = "application/sdp";

/// The maximum number of media lines in an offer.
const MAX_MEDIA: usize = 64;

/// Whether a Content-Type is `application/sdp`; ignores case and parameters.
pub(crate) fn is_sdp(content_type: &[u8]) -> bool {
    let media_type = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    media_type.trim_ascii().eq_ignore_ascii_case(CONTENT_TYPE.as_bytes())
}

/// The answer that declines every stream of `offer`. `None` if the offer is malformed.
pub(crate) fn decline(offer: &[u8], local: IpAddr) -> Option<String> {
    let text = str::from_utf8(offer).ok()?;
    let mut lines = text.lines().filter(|line| !line.is_empty());
    if lines.next() != Some("v=0") {
        return None;
    }
    let mut answer = session(local);
    // the t= line of an answer is the offer's (RFC 3264 §6)
    let time = lines.clone().find_map(|line| line.strip_prefix("t="));
    let time = time.filter(|time| time.split(' ').all(is_number)).unwrap_or("0 0");
    answer.push_str("t=");
    answer.push_str(time);
    answer.push_str("\r\n");
    let mut count = 0;
    for line in lines.filter_map(|line| line.strip_prefix("m=")) {
        count += 1;
        let mut parts = line.splitn(3, ' ');
        let (media, port, formats) = (parts.next()?, parts.next()?, parts.next()?);
        // the protocol and at least one format; the answer repeats them unchanged
        let sound = |text: &str| text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        let port_is_sound = port.split('/').all(is_number);
        if count > MAX_MEDIA || !port_is_sound || !sound(line) || !formats.contains(' ') {
            return None;
        }
        for part in ["m=", media, " 0 ", formats, "\r\n"] {
            answer.push_str(part);
        }
    }
    Some(answer)
}

/// An offer without media, for an INVITE that came without one (RFC 3261 §13.2.1).
pub(crate) fn nothing(local: IpAddr) -> String {
    let mut offer = session(local);
    offer.push_str("t=0 0\r\n");
    offer
}

fn session(local: IpAddr) -> String {
    let local = local.to_canonical();
    let family = if local.is_ipv4() { "IP4" } else { "IP6" };
    format!("v=0\r\no=- 0 0 IN {family} {local}\r\ns=-\r\nc=IN {family} {local}\r\n")
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn every_stream_is_declined() {
        let offer = "v=0\r\no=u 1 1 IN IP4 192.0.2.1\r\ns=x\r\nc=IN IP4 192.0.2.1\r\nt=3 4\r\n\
                     m=audio 49170/2 RTP/AVP 0 8\r\na=rtpmap:0 PCMU/8000\r\n\
                     m=video 0 UDP/TLS/RTP/SAVPF 96\r\n";
        let expected = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=3 4\r\n\
                        m=audio 0 RTP/AVP 0 8\r\nm=video 0 UDP/TLS/RTP/SAVPF 96\r\n";
        assert_eq!(decline(offer.as_bytes(), LOCAL).as_deref(), Some(expected));
        let bare = offer.replace("\r\n", "\n");
        assert_eq!(decline(bare.as_bytes(), LOCAL).as_deref(), Some(expected));
        assert!(nothing("::1".parse().unwrap()).contains("c=IN IP6 ::1\r\n"));
    }

    #[test]
    fn malformed_offers_have_no_answer() {
        let many = format!("v=0\r\n{}", "m=audio 1 RTP/AVP 0\r\n".repeat(MAX_MEDIA + 1));
        for offer in [
            "",
            "hello",
            "v=1\r\n",
            "v=0\r\nm=audio\r\n",
            "v=0\r\nm=audio 1 RTP/AVP\r\n",
            "v=0\r\nm=audio x RTP/AVP 0\r\n",
            "v=0\r\nm=audio 1 RTP/AVP 0\u{1}\r\n",
            &many,
        ] {
            assert_eq!(decline(offer.as_bytes(), LOCAL), None, "{offer:?}");
        }
        assert_eq!(decline(b"v=0\r\n\xff", LOCAL), None);
    }

    #[test]
    fn content_types() {
        for yes in ["application/sdp", "Application/SDP ; charset=utf-8"] {
            assert!(is_sdp(yes.as_bytes()), "{yes}");
        }
        for no in ["", "application/sdpx", "multipart/mixed;a=application/sdp"] {
            assert!(!is_sdp(no.as_bytes()), "{no}");
        }
    }
}
