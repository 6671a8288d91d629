use countersign_testkit::packages::Wheel;
use http::Method;

use crate::house::{House, house};

/// A wheel too large for memory.
async fn large(house: &House) -> (countersign_testkit::packages::Package, String) {
    let mut state = 1_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    })
    .take(700_000)
    .collect();
    let package = Wheel::new("large", "1.0")
        .file("large/noise.bin", noise)
        .build();
    house.upload(&package).await.expect(200);
    let path = format!("/files/{}/{}", package.sha256(), package.filename);
    (package, path)
}

#[tokio::test]
async fn files_are_served_whole_for_ever_and_never_encoded() {
    let house = house().await;
    for (package, path) in [house.published("small", "1.0").await, large(&house).await] {
        for _ in 0..2 {
            let answer = house
                .get_with(&path, &[("accept-encoding", "gzip, br")])
                .await
                .expect(200);
            assert_eq!(answer.body, package.bytes);
            assert_eq!(answer.header("etag"), format!("\"{}\"", package.sha256()));
            assert_eq!(
                answer.header("cache-control"),
                "public, max-age=31536000, immutable"
            );
            assert_eq!(answer.header("accept-ranges"), "bytes");
            assert_eq!(
                answer.header("content-length"),
                package.bytes.len().to_string()
            );
            assert_eq!(answer.header("x-content-type-options"), "nosniff");
            assert_eq!(answer.header("content-encoding"), "");
            let head = house.ask(Method::HEAD, &path, &[], "").await.expect(200);
            assert_eq!(
                head.header("content-length"),
                package.bytes.len().to_string()
            );
            assert!(head.body.is_empty());
            house
                .get_with(&path, &[("if-none-match", answer.header("etag"))])
                .await
                .expect(304);
        }
    }
}

#[tokio::test]
async fn ranges_are_served_from_memory_and_from_the_store() {
    let house = house().await;
    for (package, path) in [house.published("small", "1.0").await, large(&house).await] {
        let size = package.bytes.len();
        let last = size - 1;
        for (range, from, to) in [
            ("bytes=0-0".to_owned(), 0, 1),
            ("bytes=10-19".to_owned(), 10, 20),
            (format!("bytes={last}-"), last, size),
            ("bytes=-22".to_owned(), size - 22, size),
            (format!("bytes=5-{}", size * 2), 5, size),
        ] {
            for _ in 0..2 {
                let answer = house
                    .get_with(&path, &[("range", &range)])
                    .await
                    .expect(206);
                assert_eq!(answer.body, package.bytes[from..to], "{range}");
                assert_eq!(
                    answer.header("content-range"),
                    format!("bytes {from}-{}/{size}", to - 1)
                );
                assert_eq!(answer.header("content-length"), (to - from).to_string());
            }
        }
        let answer = house
            .get_with(&path, &[("range", &format!("bytes={size}-"))])
            .await
            .expect(416);
        assert_eq!(answer.header("content-range"), format!("bytes */{size}"));
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("etag"), "");
        let several = house
            .get_with(&path, &[("range", "bytes=0-1,5-6")])
            .await
            .expect(200);
        assert_eq!(several.body.len(), size);
        let tag = format!("\"{}\"", package.sha256());
        house
            .get_with(&path, &[("range", "bytes=0-1"), ("if-range", &tag)])
            .await
            .expect(206);
        house
            .get_with(&path, &[("range", "bytes=0-1"), ("if-range", "\"other\"")])
            .await
            .expect(200);
        let head = house
            .ask(Method::HEAD, &path, &[("range", "bytes=0-9")], "")
            .await
            .expect(200);
        assert!(head.body.is_empty());
        assert_eq!(head.header("content-length"), size.to_string());
        assert_eq!(head.header("content-range"), "");
    }
}

#[tokio::test]
async fn addresses_that_name_no_digest_are_404_before_anybody_looks() {
    let house = house().await;
    let (package, _) = house.published("sample", "1.0").await;
    let (digest, name) = (package.sha256(), &package.filename);
    for address in [
        format!("{}/{name}", digest.to_uppercase()),
        format!("{}/{name}", &digest[1..]),
        format!("{digest}0/{name}"),
        format!("%00{}/{name}", &digest[1..]),
        format!("{digest}/{name}%00"),
        format!("{digest}/%00{name}.metadata"),
        format!("{digest}/%0A{name}.tlog-proof"),
    ] {
        let answer = house.get(&format!("/files/{address}")).await.expect(404);
        assert!(answer.text().contains("#file-unknown"), "{address}");
        assert!(!answer.text().contains('\0'), "{address}");
    }
}

#[tokio::test]
async fn metadata_and_proof_stand_beside_the_file() {
    let house = house().await;
    let (package, path) = house.published("sample", "1.0").await;
    let metadata = house.get(&format!("{path}.metadata")).await.expect(200);
    assert!(metadata.text().starts_with("Metadata-Version:"));
    let page = house
        .get_with(
            "/pypi/simple/sample/",
            &[("accept", "application/vnd.pypi.simple.v1+json")],
        )
        .await
        .json();
    let told = page["files"][0]["core-metadata"]["sha256"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        told,
        countersign_trust::digest::Sha256::of(&metadata.body).to_string()
    );
    let proof = house.get(&format!("{path}.tlog-proof")).await.expect(200);
    assert!(
        proof.text().starts_with("c2sp.org/tlog-proof@v1\n"),
        "{}",
        proof.text()
    );
    assert!(proof.text().contains("localhost:8417/log/1\n"));
    house
        .get(&format!(
            "/files/{}/other-1.0-py3-none-any.whl",
            package.sha256()
        ))
        .await
        .expect(404);
    house
        .get(&format!("/files/{}/{}", "0".repeat(64), package.filename))
        .await
        .expect(404);
    house.get("/files/nonsense/x").await.expect(404);
    house
        .get(&format!("/files/{}/", package.sha256()))
        .await
        .expect(404);
}

#[tokio::test]
async fn withheld_files_say_why() {
    let house = house().await;
    let (package, path) = house.published("sample", "1.0").await;
    house.published("sample", "2.0").await;
    let operator = countersign_registry::model::Actor::operator();
    let pypi = countersign_formats::Ecosystem::Pypi;
    house
        .registry
        .quarantine(
            &operator,
            pypi,
            "sample",
            Some(&package.filename),
            "steals cookies",
        )
        .await
        .unwrap();
    let answer = house.get(&path).await.expect(403);
    assert!(
        answer.text().contains("#file-quarantined"),
        "{}",
        answer.text()
    );
    house
        .registry
        .release_quarantine(&operator, pypi, "sample", Some(&package.filename))
        .await
        .unwrap();
    house.get(&path).await.expect(200);
    let deletion = countersign_registry::Deletion::File(&package.filename);
    house
        .registry
        .delete(&operator, pypi, "sample", deletion)
        .await
        .unwrap();
    let answer = house.get(&path).await.expect(410);
    assert!(answer.text().contains("#file-removed"), "{}", answer.text());
    house.get(&format!("{path}.tlog-proof")).await.expect(200);
}

#[tokio::test]
async fn whole_downloads_are_counted_and_parts_are_not() {
    let house = house().await;
    let (_, path) = house.published("sample", "1.0").await;
    for _ in 0..3 {
        house.get(&path).await.expect(200);
    }
    house
        .get_with(&path, &[("range", "bytes=0-1")])
        .await
        .expect(206);
    house.ask(Method::HEAD, &path, &[], "").await.expect(200);
    let metrics = house.get("/metrics").await.expect(200);
    assert!(
        metrics.text().contains("countersign_downloads_total 3\n"),
        "{}",
        metrics.text()
    );
}
