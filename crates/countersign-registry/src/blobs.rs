//! Bytes, through `object_store`: artifacts by their digest, tiles and documents at fixed paths.
//!
//! Two ways to write. *Durable* puts return when the bytes and the directory entries that lead to them are on disk;
//! artifacts, full tiles and keys' dependents take it. *Quick* puts survive the death of the process but perhaps not
//! of the machine; only what the database can make again byte for byte takes it (partial tiles, the copy of the
//! checkpoint, rendered documents), and [`crate::Registry::open`] does make it again.

use std::ops::Range;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use countersign_trust::digest::Sha256;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    GetOptions, GetRange, GetResultPayload, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
    PutPayload, RetryConfig, WriteMultipart,
};

use crate::error::{Error, Kind, Result};

/// Uploads above this go up in parts, so that memory stays flat.
const PART: usize = 8 << 20;

/// Up to this size a file is written in the thread that asks.
const SMALL: usize = 1 << 20;

/// How much of a local file is read at once while it is streamed out.
const CHUNK: usize = 256 << 10;

/// Where the bytes are.
#[derive(Clone)]
pub struct Blobs {
    durable: Arc<dyn ObjectStore>,
    quick: Arc<dyn ObjectStore>,
    place: Arc<str>,
    /// Where it is a folder: it.
    folder: Option<Arc<FilePath>>,
    /// Bytes found in place may have been put there by a process that died before its sync.
    syncs: bool,
}

/// Bytes that wait in memory or in a spool file.
pub(crate) enum Spooled {
    Memory(Bytes),
    File {
        file: tempfile::NamedTempFile,
        size: u64,
    },
}

/// Whether an artifact's bytes were in place already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// They were, and are the right ones.
    Before,
    /// They were put there now.
    Now,
}

/// What a look-up of an object found out.
pub(crate) struct Stat {
    pub(crate) size: u64,
}

impl Blobs {
    /// A folder, made if missing. `sync` false is for tests that want speed.
    ///
    /// # Errors
    /// Where the folder can not be made or opened.
    pub fn local(folder: &FilePath, sync: bool) -> Result<Self> {
        let open = |sync: bool| -> Result<Arc<dyn ObjectStore>> {
            std::fs::create_dir_all(folder)
                .map_err(|source| unreachable(folder.display().to_string(), source))?;
            let store = LocalFileSystem::new_with_prefix(folder)
                .map_err(|source| unreachable(folder.display().to_string(), source))?;
            Ok(Arc::new(store.with_fsync(sync)))
        };
        Ok(Self {
            durable: open(sync)?,
            quick: open(false)?,
            place: folder.display().to_string().into(),
            folder: Some(folder.into()),
            syncs: sync,
        })
    }

    /// Memory, for tests.
    pub fn memory() -> Self {
        Self::from_store(Arc::new(InMemory::new()))
    }

    /// Any object store, durable by itself: an embedder's own, or a test's that fails where it is told to.
    pub fn from_store(store: Arc<dyn ObjectStore>) -> Self {
        Self {
            place: store.to_string().into(),
            folder: None,
            syncs: false,
            durable: store.clone(),
            quick: store,
        }
    }

    /// An S3-compatible service: `s3://BUCKET/PREFIX`. Endpoint, region and credentials come from `options`, whose
    /// keys are those of the AWS environment variables in lower case (`aws_access_key_id`, `aws_endpoint`, …).
    ///
    /// # Errors
    /// `blobs-url` where the URL or the options make no sense.
    pub fn s3(url: &url::Url, options: &[(String, String)]) -> Result<Self> {
        let wrong = |source: object_store::Error| {
            Error::new(
                Kind::Rejected,
                "blobs-url",
                format!("The blob store {url} can not be used: {source}."),
            )
            .remedy(
                "Use s3://BUCKET or s3://BUCKET/PREFIX, and set endpoint, region and credentials.",
            )
        };
        let mut builder = AmazonS3Builder::new().with_url(url.as_str());
        for (key, value) in options {
            let key = key.parse().map_err(wrong)?;
            builder = builder.with_config(key, value);
        }
        let store = builder
            // A publisher hears of an outage while it still listens; its retry is safe.
            .with_retry(RetryConfig {
                max_retries: 4,
                retry_timeout: Duration::from_secs(20),
                ..RetryConfig::default()
            })
            .with_conditional_put(object_store::aws::S3ConditionalPut::ETagMatch)
            .build()
            .map_err(wrong)?;
        let prefix = url.path().trim_matches('/').to_owned();
        let store: Arc<dyn ObjectStore> = if prefix.is_empty() {
            Arc::new(store)
        } else {
            Arc::new(object_store::prefix::PrefixStore::new(store, prefix))
        };
        Ok(Self {
            durable: store.clone(),
            quick: store,
            place: url.to_string().into(),
            folder: None,
            syncs: false,
        })
    }

    /// Where this is, for messages.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// True where nothing is stored.
    ///
    /// # Errors
    /// `blobs-unreachable`.
    pub async fn is_empty(&self) -> Result<bool> {
        Ok(self
            .durable
            .list(None)
            .next()
            .await
            .transpose()
            .map_err(|source| self.failed(source))?
            .is_none())
    }

    /// Stores an artifact under its digest, durably. The same digest again is a success; bytes found damaged under
    /// it are replaced by the right ones, which the caller has just hashed.
    pub(crate) async fn put_artifact(&self, sha256: Sha256, bytes: &Spooled) -> Result<Found> {
        let path = artifact_path(&sha256.to_string());
        match bytes {
            Spooled::Memory(bytes) => {
                let options = PutOptions {
                    mode: PutMode::Create,
                    ..PutOptions::default()
                };
                match self
                    .durable
                    .put_opts(&path, PutPayload::from_bytes(bytes.clone()), options)
                    .await
                {
                    Ok(_) => Ok(Found::Now),
                    Err(object_store::Error::AlreadyExists { .. }) => {
                        let same = self.artifact_digest(&sha256.to_string()).await? == Some(sha256);
                        if same && !self.syncs {
                            return Ok(Found::Before);
                        }
                        let found = if same { Found::Before } else { Found::Now };
                        self.durable
                            .put(&path, PutPayload::from_bytes(bytes.clone()))
                            .await
                            .map(|_| found)
                            .map_err(|source| self.failed(source))
                    }
                    Err(source) => Err(self.failed(source)),
                }
            }
            Spooled::File { file, size } => {
                if !self.syncs
                    && let Some(stat) = self.stat(path.as_ref()).await?
                    && stat.size == *size
                    && self.artifact_digest(&sha256.to_string()).await? == Some(sha256)
                {
                    return Ok(Found::Before);
                }
                let upload = self
                    .durable
                    .put_multipart(&path)
                    .await
                    .map_err(|source| self.failed(source))?;
                let mut upload = WriteMultipart::new_with_chunk_size(upload, PART);
                let reopened = file
                    .reopen()
                    .map_err(|source| unreachable("the spool".to_owned(), source))?;
                let mut reader = tokio_util::io::ReaderStream::with_capacity(
                    tokio::fs::File::from_std(reopened),
                    CHUNK,
                );
                while let Some(chunk) = reader.next().await {
                    let chunk =
                        chunk.map_err(|source| unreachable("the spool".to_owned(), source))?;
                    upload
                        .wait_for_capacity(4)
                        .await
                        .map_err(|source| self.failed(source))?;
                    upload.put(chunk);
                }
                upload
                    .finish()
                    .await
                    .map(|_| Found::Now)
                    .map_err(|source| self.failed(source))
            }
        }
    }

    /// The digest of the stored bytes of an artifact, read now; `None` where there are none.
    pub(crate) async fn artifact_digest(&self, sha256: &str) -> Result<Option<Sha256>> {
        let Some(mut stream) = self.stream(artifact_path(sha256).as_ref(), None).await? else {
            return Ok(None);
        };
        let mut hasher = countersign_trust::digest::Hasher::new(false);
        while let Some(chunk) = stream
            .try_next()
            .await
            .map_err(|source| self.failed(source))?
        {
            hasher.update(&chunk);
        }
        Ok(Some(hasher.finish().0.sha256))
    }

    /// Stores bytes at a path durably.
    pub(crate) async fn put(&self, path: &str, bytes: Bytes) -> Result<()> {
        self.durable
            .put(&Path::from(path), PutPayload::from_bytes(bytes))
            .await
            .map(|_| ())
            .map_err(|source| self.failed(source))
    }

    /// Stores bytes at a path; see the module's text for who may.
    pub(crate) async fn put_quick(&self, path: &str, bytes: Bytes) -> Result<()> {
        if let Some(folder) = &self.folder
            && bytes.len() <= SMALL
            && replace(&folder.join(path), &bytes).is_ok()
        {
            return Ok(());
        }
        // Its folder is still to be made, or somebody else is at it, or it fails for a reason that is told from here.
        self.quick
            .put(&Path::from(path), PutPayload::from_bytes(bytes))
            .await
            .map(|_| ())
            .map_err(|source| self.failed(source))
    }

    /// All bytes at a path, at most `most` of them.
    pub(crate) async fn get(&self, path: &str, most: u64) -> Result<Option<Bytes>> {
        match self.durable.get(&Path::from(path)).await {
            Ok(found) if found.meta.size > most => Err(Error::internal(
                "a stored object is larger than it may be",
                path.to_owned(),
            )),
            Ok(found) => Ok(Some(
                found.bytes().await.map_err(|source| self.failed(source))?,
            )),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(self.failed(source)),
        }
    }

    /// Size of the object at a path.
    pub(crate) async fn stat(&self, path: &str) -> Result<Option<Stat>> {
        match self.durable.head(&Path::from(path)).await {
            Ok(meta) => Ok(Some(Stat { size: meta.size })),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(self.failed(source)),
        }
    }

    /// Streams an object or a range of it; local files in large chunks.
    pub(crate) async fn stream(
        &self,
        path: &str,
        range: Option<Range<u64>>,
    ) -> Result<Option<BoxStream<'static, Result<Bytes, object_store::Error>>>> {
        let options = GetOptions {
            range: range.clone().map(GetRange::Bounded),
            ..GetOptions::default()
        };
        let found = match self.durable.get_opts(&Path::from(path), options).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(source) => return Err(self.failed(source)),
        };
        let wanted = found.range.clone();
        match found.payload {
            GetResultPayload::Stream(stream) => Ok(Some(stream)),
            GetResultPayload::File(mut file, _) => {
                use std::io::Seek;
                file.seek(std::io::SeekFrom::Start(wanted.start))
                    .map_err(|source| unreachable(path.to_owned(), source))?;
                Ok(Some(file_chunks(file, wanted.end - wanted.start).boxed()))
            }
        }
    }

    /// Removes an object; one that is not there is a success.
    pub(crate) async fn delete(&self, path: &str) -> Result<()> {
        match self.durable.delete(&Path::from(path)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(self.failed(source)),
        }
    }

    /// Every object below a prefix: `(path, size, last change in seconds since 1970)`.
    pub(crate) fn list(&self, prefix: &str) -> BoxStream<'static, Result<(String, u64, i64)>> {
        let place = self.place.clone();
        self.durable
            .list(Some(&Path::from(prefix)))
            .map(move |found| {
                found
                    .map(|meta| {
                        (
                            meta.location.to_string(),
                            meta.size,
                            meta.last_modified.timestamp(),
                        )
                    })
                    .map_err(|source| unreachable(place.to_string(), source))
            })
            .boxed()
    }

    fn failed(&self, source: object_store::Error) -> Error {
        let text = source.to_string();
        if text.contains("No space left") || text.contains("os error 28") {
            return Error::unavailable("disk-full", "The registry's disk is full.").because(source);
        }
        unreachable(self.place.to_string(), source)
    }
}

/// Puts a small file in place of what is there, as `object_store` does it, but in the thread that asks: it is a write into
/// the page cache, and the way to another thread and back costs more.
fn replace(place: &FilePath, bytes: &[u8]) -> std::io::Result<()> {
    let mut staged = place.as_os_str().to_owned();
    // A name that `object_store` uses for its own unfinished files and lists never.
    staged.push("#1");
    let mut file = std::fs::File::create_new(&staged)?;
    let done =
        std::io::Write::write_all(&mut file, bytes).and_then(|()| std::fs::rename(&staged, place));
    if done.is_err() {
        std::fs::remove_file(&staged)?;
    }
    done
}

/// Up to `left` bytes of a local file, in chunks that are read on a blocking thread straight into what is sent:
/// tokio's own file would copy them once more. Ends early where the file does.
fn file_chunks(
    file: std::fs::File,
    left: u64,
) -> impl futures::Stream<Item = Result<Bytes, object_store::Error>> + Send {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| object_store::Error::Generic {
        store: "local",
        source,
    };
    futures::stream::try_unfold((file, left), move |(mut file, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let wanted = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        let read = move || {
            use std::io::Read;
            let mut chunk = vec![0; wanted];
            let mut filled = 0;
            while filled < wanted {
                match file.read(&mut chunk[filled..]) {
                    Ok(0) => break,
                    Ok(more) => filled += more,
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            chunk.truncate(filled);
            Ok((chunk, file))
        };
        let (chunk, file) = tokio::task::spawn_blocking(read)
            .await
            .map_err(|source| failed(source.into()))?
            .map_err(|source| failed(source.into()))?;
        if chunk.is_empty() {
            return Ok(None);
        }
        let left = left - chunk.len() as u64;
        Ok(Some((Bytes::from(chunk), (file, left))))
    })
}

/// Path of an artifact's bytes.
pub(crate) fn artifact_path(sha256: &str) -> Path {
    Path::from(format!(
        "artifacts/{}/{sha256}",
        sha256.get(..2).unwrap_or("00")
    ))
}

fn unreachable(
    place: String,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    let source = source.into();
    if source.to_string().contains("os error 28") {
        return Error::unavailable("disk-full", "The registry's disk is full.").because(source);
    }
    Error::unavailable(
        "blobs-unreachable",
        format!("The registry can not reach its blob store ({place})."),
    )
    .because(source)
}

#[cfg(test)]
mod tests;
