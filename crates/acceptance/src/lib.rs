//! The tests of sip-authz that cross crates, in `tests`. The library is empty.
