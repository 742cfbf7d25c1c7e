//! Parts of stores in tests.

/// The reads of [`Store`](sip_authz_store::Store) for a store that leaves them to another one: `reads_of!(self =>
/// self.inner);` within the `impl`.
#[macro_export]
macro_rules! reads_of {
    ($this:ident => $inner:expr) => {
        async fn get(
            &$this,
            key: ::sip_authz::model::Key,
        ) -> Result<Option<::sip_authz::model::Record>, ::sip_authz_store::StoreError> {
            $inner.get(key).await
        }

        async fn find(
            &$this,
            lookup: ::sip_authz_store::Lookup,
        ) -> Result<Option<::sip_authz::model::Record>, ::sip_authz_store::StoreError> {
            $inner.find(lookup).await
        }

        async fn range(
            &$this,
            collection: ::sip_authz_store::Collection,
            after: Option<::sip_authz::model::Key>,
            limit: usize,
        ) -> Result<Vec<::sip_authz::model::Record>, ::sip_authz_store::StoreError> {
            $inner.range(collection, after, limit).await
        }

        async fn count(
            &$this,
            collection: ::sip_authz_store::Collection,
        ) -> Result<usize, ::sip_authz_store::StoreError> {
            $inner.count(collection).await
        }
    };
}
