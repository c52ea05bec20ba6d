//! Blobs as objects: in a local folder, or in any store that speaks S3.

use std::{fmt, fs, path::Path as FilePath, sync::Arc};

use clave_mailbox::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{
    ObjectStore, ObjectStoreExt, aws::AmazonS3Builder, local::LocalFileSystem, path::Path, prefix::PrefixStore,
};

use super::StoreError;

/// Objects that are removed at a time.
const DELETES_MAX: usize = 16;

/// Why there is no object store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ObjectsError {
    #[error("`storage.objects` is {0:?}, and must be a directory, or s3://bucket or s3://bucket/prefix")]
    Address(String),
    #[error(
        "the objects in {0:?} cannot be reached: {1}. Check `storage.objects`, and AWS_ENDPOINT, AWS_REGION and the keys in the environment"
    )]
    Unusable(String, String),
}

/// Where blobs lie that are no messages.
#[derive(Clone)]
pub(crate) struct Objects {
    store: Arc<dyn ObjectStore>,
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.store)
    }
}

impl Objects {
    /// Whether this is a place that could be opened.
    pub(crate) fn is_address(at: &str) -> bool {
        match at.split_once("://") {
            Some(("s3", rest)) => {
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                !bucket.is_empty() && Path::parse(prefix).is_ok()
            }
            Some(_) => false,
            None => FilePath::new(at).is_absolute(),
        }
    }

    /// A directory, which is made if it is not there, or `s3://bucket/prefix`, whose endpoint, region and keys stand in the environment
    /// (`AWS_ENDPOINT`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`; `AWS_ALLOW_HTTP`).
    ///
    /// # Errors
    /// See [`ObjectsError`].
    pub(crate) fn open(at: &str) -> Result<Self, ObjectsError> {
        let unusable = |error: &dyn fmt::Display| ObjectsError::Unusable(at.into(), error.to_string());
        if !Self::is_address(at) {
            return Err(ObjectsError::Address(at.into()));
        }
        let store: Arc<dyn ObjectStore> = match at.strip_prefix("s3://") {
            Some(rest) => {
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                // Another may have been chosen already: it does as well.
                let _ = rustls::crypto::ring::default_provider().install_default();
                let s3 = AmazonS3Builder::from_env().with_bucket_name(bucket);
                Arc::new(PrefixStore::new(s3.build().map_err(|error| unusable(&error))?, prefix))
            }
            None => {
                fs::create_dir_all(at).map_err(|error| unusable(&error))?;
                let local = LocalFileSystem::new_with_prefix(at).map_err(|error| unusable(&error))?;
                Arc::new(local.with_fsync(true).with_automatic_cleanup(true))
            }
        };
        Ok(Self { store })
    }

    /// Stores an object; durable when it answers.
    pub(crate) async fn put(&self, name: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.store.put(&Path::from(name), bytes.into()).await.map(drop).map_err(failed)
    }

    /// `None` if it is not there.
    pub(crate) async fn get(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        match self.store.get(&Path::from(name)).await {
            Ok(found) => found.bytes().await.map(Some).map_err(failed),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Removes objects. Those that are not there are no matter.
    pub(crate) async fn delete(&self, names: Vec<String>) -> Result<(), StoreError> {
        let store = &self.store;
        stream::iter(names)
            .map(|name| async move {
                match store.delete(&Path::from(name)).await {
                    Err(error) if !matches!(error, object_store::Error::NotFound { .. }) => Err(failed(error)),
                    _ => Ok(()),
                }
            })
            .buffer_unordered(DELETES_MAX)
            .try_for_each(|()| async { Ok(()) })
            .await
    }

    /// Removes what was stored before a time (seconds since 1970): what a put left behind that did not come to its end.
    pub(crate) async fn expire(&self, before_seconds: i64) -> Result<(), StoreError> {
        let mut listed = self.store.list(None);
        let mut old = Vec::new();
        while let Some(object) = listed.try_next().await.map_err(failed)? {
            if object.last_modified.timestamp() < before_seconds {
                old.push(object.location.to_string());
            }
        }
        self.delete(old).await
    }
}

fn failed(error: object_store::Error) -> StoreError {
    // It names the object, which names the mailbox: not for a log.
    let store = match &error {
        object_store::Error::Generic { store, .. } => *store,
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => "no permission",
        _ => "another error",
    };
    tracing::warn!(store, "an object could not be stored, read or removed");
    StoreError::Unavailable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_keeps_objects() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("chunks");
        let objects = Objects::open(at.to_str().unwrap()).unwrap();
        objects.put("a/b", Bytes::from_static(b"one")).await.unwrap();
        objects.put("a/c", Bytes::from_static(b"two")).await.unwrap();
        assert_eq!(objects.get("a/b").await.unwrap().unwrap(), "one");
        assert_eq!(objects.get("a/d").await, Ok(None));
        objects.delete(vec!["a/b".into(), "a/d".into()]).await.unwrap();
        assert_eq!(objects.get("a/b").await, Ok(None));
        objects.expire(0).await.unwrap();
        assert!(objects.get("a/c").await.unwrap().is_some());
        objects.expire(i64::MAX).await.unwrap();
        assert_eq!(objects.get("a/c").await, Ok(None));
    }

    #[test]
    fn an_address_that_is_none_is_refused_with_what_to_write() {
        for wrong in ["", "relative", "s3://", "ftp://host", "s3:///prefix"] {
            let error = Objects::open(wrong).unwrap_err().to_string();
            assert!(error.contains("storage.objects"), "{error}");
        }
        assert!(matches!(Objects::open("/dev/null/x"), Err(ObjectsError::Unusable(..))));
    }
}
