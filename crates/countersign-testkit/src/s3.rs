//! An S3-protocol server in this process (the crates `s3s` and `s3s-fs`: signatures, XML, multipart and ranges are
//! theirs), on a free loopback port and a temporary folder.
//!
//! `s3s-fs` looks for an existing object and then writes, so two conditional puts of one key could both succeed.
//! Real stores decide atomically; here conditional writes (`If-None-Match`, `If-Match`) go one after another.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use hyper::body::Incoming;
use hyper::header::{IF_MATCH, IF_NONE_MATCH};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::sync::Mutex;

/// A running S3 server with one empty bucket. Dropping it stops it and removes what it stored.
#[derive(Debug)]
pub struct S3Server {
    address: SocketAddr,
    folder: tempfile::TempDir,
    // Dropped before the folder by the order in `Drop` below.
    runtime: Option<tokio::runtime::Runtime>,
}

impl S3Server {
    /// The bucket that is there from the beginning.
    pub const BUCKET: &'static str = "countersign-test";
    /// The only key id it accepts.
    pub const ACCESS_KEY_ID: &'static str = "testkit";
    /// The secret of that key.
    pub const SECRET_ACCESS_KEY: &'static str = "testkit-secret-key";
    /// The region it says it is in.
    pub const REGION: &'static str = "us-east-1";

    /// Starts a server.
    pub fn start() -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("countersign-s3-")
            .tempdir()?;
        std::fs::create_dir(folder.path().join(Self::BUCKET))?;
        let files = s3s_fs::FileSystem::new(folder.path())
            .map_err(|error| anyhow!("cannot serve {}: {error:?}", folder.path().display()))?;
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(SimpleAuth::from_single(
            Self::ACCESS_KEY_ID,
            Self::SECRET_ACCESS_KEY,
        ));
        let service = builder.build();

        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("testkit-s3")
            .enable_all()
            .build()?;
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind(("127.0.0.1", 0)))
            .context("no free loopback port for the S3 server")?;
        let address = listener.local_addr()?;
        let one_condition_at_a_time = Arc::new(Mutex::new(()));
        runtime.spawn(async move {
            loop {
                // A failed accept concerns one client that went away.
                let Ok((socket, _)) = listener.accept().await else {
                    continue;
                };
                let (service, turn) = (service.clone(), one_condition_at_a_time.clone());
                let answer = service_fn(move |request: hyper::Request<Incoming>| {
                    let (service, turn) = (service.clone(), turn.clone());
                    async move {
                        let headers = request.headers();
                        let conditional =
                            !matches!(*request.method(), hyper::Method::GET | hyper::Method::HEAD)
                                && (headers.contains_key(IF_NONE_MATCH)
                                    || headers.contains_key(IF_MATCH));
                        let _turn = if conditional {
                            Some(turn.lock().await)
                        } else {
                            None
                        };
                        hyper::service::Service::call(&service, request).await
                    }
                });
                tokio::spawn(async move {
                    // Errors here are clients that hang up; the test sees them on its own side.
                    let _ = auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(socket), answer)
                        .await;
                });
            }
        });
        Ok(Self {
            address,
            folder,
            runtime: Some(runtime),
        })
    }

    /// `http://127.0.0.1:PORT`, to be used with path-style addressing.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The variables that S3 clients read, for the environment of a child process.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT", self.endpoint()),
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_ACCESS_KEY_ID", Self::ACCESS_KEY_ID.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", Self::SECRET_ACCESS_KEY.to_owned()),
            ("AWS_REGION", Self::REGION.to_owned()),
            ("AWS_DEFAULT_REGION", Self::REGION.to_owned()),
        ]
    }

    /// The folder that holds the objects of [`Self::BUCKET`], so that a test can damage one behind the server's back.
    pub fn bucket_folder(&self) -> std::path::PathBuf {
        self.folder.path().join(Self::BUCKET)
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;
    use object_store::aws::{AmazonS3, AmazonS3Builder};
    use object_store::path::Path;
    use object_store::{
        Error, ObjectStore, ObjectStoreExt as _, PutMode, PutMultipartOptions, PutOptions,
    };

    use super::*;

    fn client(server: &S3Server) -> AmazonS3 {
        AmazonS3Builder::new()
            .with_endpoint(server.endpoint())
            .with_allow_http(true)
            .with_bucket_name(S3Server::BUCKET)
            .with_region(S3Server::REGION)
            .with_access_key_id(S3Server::ACCESS_KEY_ID)
            .with_secret_access_key(S3Server::SECRET_ACCESS_KEY)
            .build()
            .unwrap()
    }

    fn create() -> PutOptions {
        PutOptions {
            mode: PutMode::Create,
            ..PutOptions::default()
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn exactly_one_of_many_concurrent_creates_wins() {
        let server = tokio::task::spawn_blocking(|| S3Server::start().unwrap())
            .await
            .unwrap();
        let store = Arc::new(client(&server));
        let wins = Arc::new(AtomicUsize::new(0));
        let mut tasks = Vec::new();
        for turn in 0..16 {
            let (store, wins) = (store.clone(), wins.clone());
            tasks.push(tokio::spawn(async move {
                let body = Bytes::from(vec![turn; 1000]);
                match store
                    .put_opts(&Path::from("a/b"), body.into(), create())
                    .await
                {
                    Ok(_) => _ = wins.fetch_add(1, Ordering::SeqCst),
                    Err(Error::AlreadyExists { .. }) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(wins.load(Ordering::SeqCst), 1);
        tokio::task::spawn_blocking(move || drop(server))
            .await
            .unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn ranges_listing_multipart_and_delete_work() {
        let server = tokio::task::spawn_blocking(|| S3Server::start().unwrap())
            .await
            .unwrap();
        let store = client(&server);
        let small = Path::from("blobs/small");
        store
            .put(&small, Bytes::from_static(b"0123456789").into())
            .await
            .unwrap();
        assert_eq!(&store.get_range(&small, 3..6).await.unwrap()[..], b"345");

        let large = Path::from("blobs/large");
        let mut upload = store
            .put_multipart_opts(&large, PutMultipartOptions::default())
            .await
            .unwrap();
        for part in 0..2u8 {
            upload
                .put_part(Bytes::from(vec![part; 5 << 20]).into())
                .await
                .unwrap();
        }
        upload.complete().await.unwrap();
        assert_eq!(store.head(&large).await.unwrap().size, 10 << 20);
        let copied = Path::from("final/large");
        store.copy(&large, &copied).await.unwrap();
        assert_eq!(
            &store
                .get_range(&copied, (5 << 20) - 1..(5 << 20) + 1)
                .await
                .unwrap()[..],
            &[0, 1]
        );

        let listed = store
            .list_with_delimiter(Some(&Path::from("blobs")))
            .await
            .unwrap();
        assert_eq!(listed.objects.len(), 2);
        store.delete(&small).await.unwrap();
        assert!(matches!(
            store.get(&small).await,
            Err(Error::NotFound { .. })
        ));
        tokio::task::spawn_blocking(move || drop(server))
            .await
            .unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_wrong_secret_is_refused() {
        let server = tokio::task::spawn_blocking(|| S3Server::start().unwrap())
            .await
            .unwrap();
        let store = AmazonS3Builder::new()
            .with_endpoint(server.endpoint())
            .with_allow_http(true)
            .with_bucket_name(S3Server::BUCKET)
            .with_region(S3Server::REGION)
            .with_access_key_id(S3Server::ACCESS_KEY_ID)
            .with_secret_access_key("wrong")
            .build()
            .unwrap();
        assert!(
            store
                .put(&Path::from("x"), Bytes::from_static(b"x").into())
                .await
                .is_err()
        );
        tokio::task::spawn_blocking(move || drop(server))
            .await
            .unwrap();
    }
}
