//! Access lists by source address: IP prefixes, and a table that finds the most specific prefix for
//! an address.

mod prefix;
mod table;

pub use prefix::{Prefix, PrefixError};
pub use table::{PrefixTable, TooManyPrefixes};
