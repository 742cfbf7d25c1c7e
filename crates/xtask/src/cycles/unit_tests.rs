//! The circles of small crates that the tests write.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// A crate in a temporary folder, which goes away with it.
struct Crate(PathBuf);

impl Crate {
    fn new(files: &[(&str, &str)]) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = format!("xtask-cycles-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        for (name, text) in files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self(folder)
    }

    /// The imports in circles, as `from -> to: names`, with those of all circles together.
    fn circles(&self) -> Vec<String> {
        let tree = Tree::load(&self.0.join("lib.rs")).unwrap();
        let text: String = circles_of(&tree).iter().map(|it| it.text(&tree, &self.0)).collect();
        text.lines().map(|line| line.trim().to_owned()).collect()
    }
}

impl Drop for Crate {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn circles(files: &[(&str, &str)]) -> Vec<String> {
    Crate::new(files).circles()
}

#[test]
fn a_circle_of_two_files_is_found_with_its_lines() {
    let found = circles(&[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "use crate::b::B;\npub struct A(B);"),
        ("b.rs", "pub struct B;\npub fn f() {\n    let _ = super::a::A::new();\n}"),
    ]);
    assert_eq!(
        found,
        [
            "shortest circle: a.rs -> b.rs -> a.rs",
            "a.rs -> b.rs: `crate::b::B` (line 1)",
            "b.rs -> a.rs: `super::a::A::new` (line 3)",
        ]
    );
}

#[test]
fn imports_in_one_direction_are_fine() {
    let found = circles(&[
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a.rs", "use crate::{b::B, c::C};"),
        ("b.rs", "use crate::c::C; pub struct B;"),
        ("c.rs", "pub struct C;"),
    ]);
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn parent_and_child_are_no_circle() {
    let found = circles(&[
        ("lib.rs", "mod a; pub use a::b::B; pub struct Top;"),
        ("a.rs", "pub mod b; use self::b::B; pub struct A; mod deep { pub mod c; }"),
        ("a/b.rs", "use super::A; use crate::Top; pub struct B;"),
        ("a/deep/c.rs", "use super::super::A; use crate::Top;"),
    ]);
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_circle_through_re_exports_of_a_parent_is_found() {
    let found = circles(&[
        ("lib.rs", "mod a;"),
        ("a.rs", "mod b; mod c; pub(crate) use self::b::B; pub use self::c::*;"),
        ("a/b.rs", "pub struct B(super::C);"),
        ("a/c.rs", "use crate::a::B;\npub struct C(Option<Box<B>>);"),
    ]);
    assert_eq!(found.first().unwrap(), "shortest circle: a/b.rs -> a/c.rs -> a/b.rs");
    assert!(found.contains(&"a/b.rs -> a/c.rs: `super::C` (line 1)".to_owned()), "{found:?}");
    assert!(found.contains(&"a/c.rs -> a/b.rs: `crate::a::B` (line 1)".to_owned()), "{found:?}");
}

#[test]
fn a_re_export_does_not_make_a_circle() {
    // x uses a/b through the re-export of a; a itself uses x
    let found = circles(&[
        ("lib.rs", "mod a; mod x;"),
        ("a.rs", "mod b; pub use b::B; use crate::x::X; pub struct A(X);"),
        ("a/b.rs", "pub struct B;"),
        ("x.rs", "use crate::a::B; pub struct X(B);"),
    ]);
    assert!(found.is_empty(), "{found:?}");
    let by_module = circles(&[
        ("lib.rs", "mod a; mod x;"),
        ("a.rs", "mod b; pub use b::B; use crate::x::X; pub struct A(X);"),
        ("a/b.rs", "pub struct B;"),
        ("x.rs", "use crate::a; pub struct X(a::B);"),
    ]);
    assert!(by_module.is_empty(), "{by_module:?}");
}

#[test]
fn re_exports_are_followed_over_several_steps_and_names() {
    let found = circles(&[
        ("lib.rs", "mod a; mod b; mod c; pub use crate::b::Third as Fourth;"),
        ("a.rs", "pub struct First; use crate::c::C;"),
        ("b.rs", "pub use crate::c::Second as Third;"),
        ("c.rs", "pub use crate::a::First as Second; pub struct C;"),
    ]);
    // c re-exports from a, which is an import as well
    assert_eq!(found.first().unwrap(), "shortest circle: a.rs -> c.rs -> a.rs");
    assert!(found.iter().all(|line| !line.contains("b.rs")), "{found:?}");
}

#[test]
fn re_exports_in_a_circle_end() {
    let found = circles(&[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "pub use crate::b::*; pub use crate::b::X; pub use crate::a::Y;"),
        ("b.rs", "pub use crate::a::*; pub use crate::a::X;"),
    ]);
    assert_eq!(found.first().unwrap(), "shortest circle: a.rs -> b.rs -> a.rs");
}

#[test]
fn tests_are_left_out() {
    let found = circles(&[
        ("lib.rs", "mod a; mod b; #[cfg(test)] mod missing;"),
        ("a.rs", "use crate::b::B; pub struct A;"),
        (
            "b.rs",
            "pub struct B;
             #[cfg(test)] use crate::a::A;
             #[cfg(all(test, unix))] mod tests { use crate::a::A; }
             #[cfg(any(test))] fn f() { crate::a::g(); }
             #[test] fn g() { crate::a::g(); }
             impl B { #[cfg(test)] fn h() { crate::a::g(); } }",
        ),
    ]);
    assert!(found.is_empty(), "{found:?}");
    let kept = circles(&[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "use crate::b::B; pub struct A;"),
        ("b.rs", "pub struct B; #[cfg(any(test, feature = \"x\"))] use crate::a::A;"),
    ]);
    assert_eq!(kept.len(), 3, "{kept:?}");
}

#[test]
fn paths_in_macros_count() {
    let found = circles(&[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "use crate::b::B; pub struct A;"),
        ("b.rs", "pub struct B; fn f() { assert!(vec![crate::a::A].is_empty()); }"),
    ]);
    assert!(found.contains(&"b.rs -> a.rs: `crate::a::A` (line 1)".to_owned()), "{found:?}");
}

#[test]
fn names_of_other_crates_are_not_confused_with_modules() {
    let found = circles(&[
        ("lib.rs", "mod a; mod b; mod rsip;"),
        ("a.rs", "use crate::b::B; pub struct A;"),
        // `rsip` here is another crate, as is `::a`
        ("b.rs", "use rsip::A; use ::a::C; use std::fmt; pub struct B(fmt::Error);"),
        ("rsip.rs", "pub use crate::a::A;"),
    ]);
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn path_attributes_and_inline_modules_are_followed() {
    let found = circles(&[
        (
            "lib.rs",
            "#[cfg(unix)] #[path = \"os/unix.rs\"] mod os; mod b; mod inline { pub mod d; }",
        ),
        ("os/unix.rs", "mod beside; use crate::b::B; pub struct Os;"),
        ("os/beside.rs", "use crate::inline::d::D;"),
        ("b.rs", "pub struct B; use crate::os::Os;"),
        ("inline/d.rs", "pub struct D;"),
    ]);
    assert_eq!(found.first().unwrap(), "shortest circle: os/unix.rs -> b.rs -> os/unix.rs");
    assert_eq!(found.len(), 3, "{found:?}");
}

#[test]
fn a_variable_with_the_name_of_a_module_is_no_import() {
    let found = circles(&[
        ("lib.rs", "mod a; mod b; pub mod clock;"),
        ("a.rs", "use crate::*; fn f(clock: u8) -> u8 { clock }"),
        ("clock.rs", "use crate::a::f;"),
        ("b.rs", ""),
    ]);
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_module_without_a_file_is_an_error() {
    let made = Crate::new(&[("lib.rs", "\nmod gone;")]);
    let error = Tree::load(&made.0.join("lib.rs")).err().unwrap().to_string();
    assert!(error.contains("found no file for `mod gone`, declared at "), "{error}");
    assert!(error.ends_with("lib.rs:2"), "{error}");
}
