//! Tests of the library: parsing, decisions, digest, lists and snapshots.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod batch;
mod borrows;
mod causes;
mod causes_oracle;
mod commits;
mod copies;
mod copying;
mod decision;
mod digest_header;
mod digest_vectors;
mod domain_host;
mod from_datagram;
mod from_fields;
mod guess_limits;
mod guide;
mod invite;
mod message;
mod message_flaws;
mod message_oracle;
mod methods;
mod other_process;
mod prefix_table;
mod redirect;
mod refusal;
mod registrations;
mod registrations_oracle;
mod request_uri;
mod round_trips;
mod swap;
mod torture;
mod uri_check;
mod used_header;
