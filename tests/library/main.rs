//! Tests of the library: parsing, decisions, digest, lists and snapshots.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod batch;
mod commits;
mod copies;
mod copying;
mod decision;
mod digest_header;
mod digest_vectors;
mod domain_host;
mod from_datagram;
mod guide;
mod invite;
mod message;
mod message_flaws;
mod message_oracle;
mod methods;
mod prefix_table;
mod redirect;
mod request_uri;
mod round_trips;
mod swap;
mod torture;
mod uri_check;
