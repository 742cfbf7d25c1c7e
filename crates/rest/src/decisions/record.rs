//! The record of a decision, as the API shows it.

use std::net::SocketAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Place;

/// Declares [`DecisionRecord`]: optional fields that JSON leaves out if they are none.
macro_rules! record {
    ($($(#[$doc:meta])* $field:ident: $type:ty,)*) => {
        /// A decision, or another message that an edge answered or dropped. Its fields have the names of the
        /// JSON decision log; JSON leaves out those without a value.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
        #[serde(default)]
        #[schema(as = Decision)]
        #[non_exhaustive]
        pub struct DecisionRecord {
            /// The SID: `NO` and 32 hex digits.
            pub sid: String,
            /// The name of the edge.
            pub edge: String,
            /// The time (RFC 3339, UTC).
            pub time: String,
            /// `udp`, `tcp` or `tls`.
            pub transport: String,
            /// `accept`, `challenge`, `reject`, `answered` or `dropped`.
            pub outcome: String,
            /// The reason. For operators only: callers may get another.
            pub reason: String,
            $(
                $(#[$doc])*
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $field: Option<$type>,
            )*
            /// The permissions of the caller's role.
            #[serde(skip_serializing_if = "Vec::is_empty")]
            pub permissions: Vec<String>,
            /// The names of the fields whose texts are shortened.
            #[serde(skip_serializing_if = "Vec::is_empty")]
            pub shortened: Vec<String>,
        }
    };
}

record! {
    /// The number of the snapshot that decided.
    snapshot: u64,
    /// The status of the response.
    status: u16,
    /// The code of the reason in Twilio's numbering.
    code: u16,
    /// The method of the request.
    method: String,
    /// The owner of the domain or trunk.
    account: String,
    /// The SID of the domain or trunk.
    target: String,
    /// The host of the domain or trunk.
    name: String,
    /// The access list with the source.
    access_list: String,
    /// The entry of the access list.
    address: String,
    /// The credential list of the proved user.
    credential_list: String,
    /// The proved credential.
    credential: String,
    /// Whether it is a retransmission.
    repeat: bool,
    /// The internal cause of a challenge or rejection.
    cause: String,
    /// The credential with the claimed name of a refused call.
    claimed: String,
    /// The defect of malformed credentials.
    defect: String,
    /// The header with the credentials.
    header: String,
    /// The digest algorithm.
    algorithm: String,
    /// The quality of protection.
    qop: String,
    /// The number of CSeq.
    cseq: u32,
    /// Microseconds since the message was received.
    took_us: u32,
    /// The host of the Request-URI.
    host: String,
    /// The user of the Request-URI.
    called: String,
    /// The user of From.
    from: String,
    /// The name that was claimed and not proved.
    claimed_user: String,
    /// The realm of the credentials.
    realm: String,
    /// The Call-ID.
    call_id: String,
    /// The User-Agent.
    user_agent: String,
    /// The address and port of the caller.
    source: String,
    /// The name that was proved.
    username: String,
}

impl DecisionRecord {
    /// The place in the order of all edges; none if the record has no valid time or SID.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        Some(Place { micros: self.micros()?, sid: self.sid.parse().ok()? })
    }

    /// The time in microseconds since 1970.
    #[must_use]
    pub fn micros(&self) -> Option<u64> {
        let time: Timestamp = self.time.parse().ok()?;
        u64::try_from(time.as_microsecond()).ok()
    }

    /// The address and port of the caller.
    #[must_use]
    pub fn source_address(&self) -> Option<SocketAddr> {
        self.source.as_deref()?.parse().ok()
    }
}
