//! One suite over every kind of store: what the core asks of bytes holds for memory, a folder and an S3 service.

use countersign_testkit::s3::S3Server;
use futures::TryStreamExt;

use super::*;

/// Bytes that no two seeds share.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .flatten()
    .take(length)
    .collect()
}

fn in_memory(bytes: &[u8]) -> Spooled {
    Spooled::Memory(Bytes::copy_from_slice(bytes))
}

fn in_a_file(bytes: &[u8]) -> Spooled {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    Spooled::File {
        file,
        size: bytes.len() as u64,
    }
}

async fn read(blobs: &Blobs, path: &str, range: Option<Range<u64>>) -> Option<Vec<u8>> {
    let stream = blobs.stream(path, range).await.unwrap()?;
    let pieces: Vec<Bytes> = stream.try_collect().await.unwrap();
    Some(pieces.concat())
}

async fn listed(blobs: &Blobs, prefix: &str) -> Vec<(String, u64)> {
    let mut found: Vec<_> = blobs
        .list(prefix)
        .map(|object| {
            let (path, size, changed) = object.unwrap();
            assert!(changed > 1_600_000_000, "{path} changed {changed}");
            (path, size)
        })
        .collect()
        .await;
    found.sort();
    found
}

async fn objects_come_and_go(blobs: &Blobs) {
    assert!(blobs.is_empty().await.unwrap());
    assert!(blobs.get("log/1/checkpoint", 100).await.unwrap().is_none());
    assert!(blobs.stat("log/1/checkpoint").await.unwrap().is_none());
    assert!(read(blobs, "log/1/checkpoint", None).await.is_none());
    assert!(read(blobs, "log/1/checkpoint", Some(0..3)).await.is_none());
    blobs.delete("log/1/checkpoint").await.unwrap();
    blobs
        .put("log/1/tile/0/x001/067.p/3", Bytes::from_static(b"tile"))
        .await
        .unwrap();
    assert!(!blobs.is_empty().await.unwrap());
    blobs
        .put_quick("log/1/checkpoint", Bytes::from_static(b"first"))
        .await
        .unwrap();
    blobs
        .put_quick("log/1/checkpoint", Bytes::from_static(b"second!"))
        .await
        .unwrap();
    let found = blobs.get("log/1/checkpoint", 7).await.unwrap();
    assert_eq!(found.as_deref(), Some(&b"second!"[..]));
    assert!(
        blobs.get("log/1/checkpoint", 6).await.is_err(),
        "the limit holds"
    );
    assert_eq!(
        blobs.stat("log/1/checkpoint").await.unwrap().unwrap().size,
        7
    );
    blobs.put("documents/ab/abcd", Bytes::new()).await.unwrap();
    assert_eq!(
        listed(blobs, "log").await,
        [
            ("log/1/checkpoint".to_owned(), 7),
            ("log/1/tile/0/x001/067.p/3".to_owned(), 4)
        ]
    );
    assert_eq!(listed(blobs, "log/1/tile/0/x001/067.p").await.len(), 1);
    // A prefix is a folder, not the beginning of a name.
    assert_eq!(listed(blobs, "log/1/tile/0/x001/067").await, []);
    assert_eq!(
        listed(blobs, "documents").await,
        [("documents/ab/abcd".to_owned(), 0)]
    );
    for _ in 0..2 {
        blobs.delete("log/1/checkpoint").await.unwrap();
        assert!(blobs.get("log/1/checkpoint", 100).await.unwrap().is_none());
    }
}

async fn artifacts_are_written_once_and_mended(blobs: &Blobs) {
    for (seed, length, spool) in [
        (1, 1, false),
        (2, 70_000, false),
        (3, 2 << 20, true),
        (4, 0, true),
        // More than two parts of a multi-part upload.
        (5, 2 * PART + 12_345, true),
    ] {
        let bytes = noise(seed, length);
        let spooled = || {
            if spool {
                in_a_file(&bytes)
            } else {
                in_memory(&bytes)
            }
        };
        let sha256 = Sha256::of(&bytes);
        let (name, path) = (sha256.to_string(), artifact_path(&sha256.to_string()));
        assert_eq!(blobs.artifact_digest(&name).await.unwrap(), None);
        for _ in 0..2 {
            blobs.put_artifact(sha256, &spooled()).await.unwrap();
            assert_eq!(blobs.artifact_digest(&name).await.unwrap(), Some(sha256));
        }
        assert!(read(blobs, path.as_ref(), None).await.unwrap() == bytes);
        let size = length as u64;
        if length > 1_000 {
            for range in [
                0..1,
                0..size,
                size - 1..size,
                size / 2..size / 2 + 1_000,
                1..size - 1,
            ] {
                let (start, end) = (
                    usize::try_from(range.start).unwrap(),
                    usize::try_from(range.end).unwrap(),
                );
                let found = read(blobs, path.as_ref(), Some(range.clone()))
                    .await
                    .unwrap();
                assert!(found == bytes[start..end], "{range:?} of {size}");
            }
        }
        // Somebody damages it: other bytes of the same length, fewer, none.
        for damaged in [noise(99, length), bytes[..length / 2].to_vec(), Vec::new()] {
            blobs.put(path.as_ref(), damaged.into()).await.unwrap();
            blobs.put_artifact(sha256, &spooled()).await.unwrap();
            assert_eq!(
                blobs.artifact_digest(&name).await.unwrap(),
                Some(sha256),
                "{length} bytes"
            );
        }
    }
}

async fn sixteen_writers_of_one_artifact_all_succeed(blobs: &Blobs) {
    let bytes = noise(7, 100_000);
    let sha256 = Sha256::of(&bytes);
    let writers = (0..16).map(|number| {
        let spooled = if number % 2 == 0 {
            in_memory(&bytes)
        } else {
            in_a_file(&bytes)
        };
        async move { blobs.put_artifact(sha256, &spooled).await }
    });
    for answer in futures::future::join_all(writers).await {
        answer.unwrap();
    }
    assert_eq!(
        blobs.artifact_digest(&sha256.to_string()).await.unwrap(),
        Some(sha256)
    );
}

async fn suite(blobs: &Blobs) {
    objects_come_and_go(blobs).await;
    artifacts_are_written_once_and_mended(blobs).await;
    sixteen_writers_of_one_artifact_all_succeed(blobs).await;
}

#[tokio::test]
async fn memory_keeps_what_the_core_asks_of_bytes() {
    suite(&Blobs::memory()).await;
}

#[tokio::test]
async fn a_folder_keeps_what_the_core_asks_of_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("not/made/yet");
    let blobs = Blobs::local(&place, false).unwrap();
    suite(&blobs).await;
    // Nothing half written is left beside what was.
    let strange = listed(&blobs, "artifacts")
        .await
        .into_iter()
        .find(|(path, _)| path.rsplit('/').next().unwrap().len() != 64);
    assert_eq!(strange, None);
}

#[tokio::test]
async fn a_folder_with_every_sync_keeps_it_too() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::local(folder.path(), true).unwrap();
    objects_come_and_go(&blobs).await;
    sixteen_writers_of_one_artifact_all_succeed(&blobs).await;
}

#[tokio::test]
async fn an_s3_service_keeps_what_the_core_asks_of_bytes() {
    let server = tokio::task::spawn_blocking(S3Server::start)
        .await
        .unwrap()
        .unwrap();
    let options: Vec<(String, String)> = server
        .environment()
        .into_iter()
        .filter(|(key, _)| *key != "AWS_ENDPOINT_URL")
        .map(|(key, value)| (key.to_ascii_lowercase(), value))
        .collect();
    let bucket = format!("s3://{}", S3Server::BUCKET).parse().unwrap();
    let whole = Blobs::s3(&bucket, &options).unwrap();
    suite(&whole).await;
    // Two registries in one bucket do not see each other.
    let below = |prefix: &str| {
        let url = format!("s3://{}/{prefix}", S3Server::BUCKET)
            .parse()
            .unwrap();
        Blobs::s3(&url, &options).unwrap()
    };
    let (one, other) = (below("teams/one"), below("teams/other/"));
    objects_come_and_go(&one).await;
    assert!(other.is_empty().await.unwrap());
    other
        .put_quick("x/y", Bytes::from_static(b"z"))
        .await
        .unwrap();
    assert!(one.get("x/y", 10).await.unwrap().is_none());
    assert!(whole.get("teams/other/x/y", 10).await.unwrap().is_some());
}

#[tokio::test]
async fn a_service_that_is_away_is_unavailable_and_named() {
    let url = "s3://bucket/prefix".parse().unwrap();
    let options = [
        ("aws_endpoint", "http://127.0.0.1:9"),
        ("aws_allow_http", "true"),
        ("aws_region", "us-east-1"),
        ("aws_access_key_id", "a"),
        ("aws_secret_access_key", "b"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()));
    let wrong = Blobs::s3(&url, &[("no_such_option".to_owned(), String::new())]);
    assert_eq!(wrong.err().unwrap().code, "blobs-url");
    let blobs = Blobs::s3(&url, &options).unwrap();
    let error = blobs.put_quick("x", Bytes::new()).await.unwrap_err();
    assert_eq!(
        (error.kind, error.code.as_ref()),
        (Kind::Unavailable, "blobs-unreachable")
    );
    assert!(error.message.contains("s3://bucket/prefix"), "{error}");
}
