//! The values of `--udp-reply-port`.

use clap::ValueEnum;

/// The port for answers over UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReplyPort {
    /// Source port, or the port in Via if the phone asks for no `rport` and Via has its source address
    /// with a port of 1024 or above
    Auto,
    /// Source port, for phones behind a NAT whose Via has the NAT's address
    Source,
    /// Port in Via, 5060 if it has none, for phones that listen on that port only although they ask for
    /// `rport`, or whose Via has another address or a low port
    SentBy,
}

impl From<ReplyPort> for sip_authz_proxy::via::ReplyPort {
    fn from(port: ReplyPort) -> Self {
        match port {
            ReplyPort::Auto => Self::Auto,
            ReplyPort::Source => Self::Source,
            ReplyPort::SentBy => Self::SentBy,
        }
    }
}
