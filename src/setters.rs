//! Setters for structs that are built from their defaults. Such a struct is `#[non_exhaustive]`, which
//! forbids `..Default::default()` in other crates.

/// Gives a struct a setter for each field. A field without a setter does not compile. For the crates of
/// this workspace, without any promise.
#[doc(hidden)]
#[macro_export]
macro_rules! setters {
    ($struct:ident { $($setter:ident: $field:ident: $type:ty,)* }) => {
        impl $struct {
            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), ").")]
                #[must_use]
                pub fn $setter(mut self, $field: $type) -> Self {
                    self.$field = $field;
                    self
                }
            )*
        }

        const _: fn($struct) = |$struct { $($field: _),* }| ();
    };
}
