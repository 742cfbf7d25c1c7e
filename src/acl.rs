//! Access lists by source address: what an IP prefix is, and a table that tells which prefix an
//! address falls under. An address that no prefix covers is not on the list.

mod prefix;
mod table;

pub use prefix::{Prefix, PrefixError};
pub use table::{PrefixTable, TooManyPrefixes};
