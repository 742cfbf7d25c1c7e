//! Every test of sip-authz that crosses crates is in `tests` of this package; the library is empty.
