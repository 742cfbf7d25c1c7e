//! Guide to embedding and operating the library.
//!
//! - [`embedding`]: from the socket to the answer
//! - [`stacks`]: edges on rsipstack, ezk and rvoip
//! - [`policies`]: what each choice costs
//! - [`rejections`]: how to diagnose a rejection
//! - [`causes`]: the internal cause of each challenge and rejection, and what to do about it
//! - [`questions`]: behaviour if a store is unreachable, a clock jumps, a list is emptied or two
//!   lists disagree
//! - [`operating`]: metrics to watch, useful alerts, the decision log
//! - [`threats`]: the attacks covered and not covered
//! - [`tests`]: how the project is tested

#[doc = include_str!("../docs/guide/embedding.md")]
pub mod embedding {}

#[doc = include_str!("../docs/guide/stacks.md")]
pub mod stacks {}

#[doc = include_str!("../docs/guide/policies.md")]
pub mod policies {}

#[doc = include_str!("../docs/guide/rejections.md")]
pub mod rejections {}

#[doc = include_str!("../docs/guide/causes.md")]
pub mod causes {}

#[doc = include_str!("../docs/guide/questions.md")]
pub mod questions {}

#[doc = include_str!("../docs/guide/operating.md")]
pub mod operating {}

#[doc = include_str!("../docs/guide/threats.md")]
pub mod threats {}

#[doc = include_str!("../docs/guide/tests.md")]
pub mod tests {}
