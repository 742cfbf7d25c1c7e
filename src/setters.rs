//! Setters for structs with defaults. Such a struct is `#[non_exhaustive]`, so other crates cannot
//! build it with `..Default::default()`.

/// Generates a setter for each field of a struct. A setter can take `impl Into` the field's type. A
/// missing field is a compile error. For the
/// crates of this workspace only, without a semver promise.
#[doc(hidden)]
#[macro_export]
macro_rules! setters {
    ($struct:ident { $($setter:ident: $field:ident: $type:ty,)* }) => {
        impl $struct {
            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), ").")]
                #[must_use]
                pub fn $setter(mut self, $field: $type) -> Self {
                    self.$field = $field.into();
                    self
                }
            )*
        }

        const _: fn($struct) = |$struct { $($field: _),* }| ();
    };
}
