use crate::house::house;

#[tokio::test]
async fn checkpoint_tiles_and_proofs_are_cacheable_files() {
    let house = house().await;
    house.published("sample", "1.0").await;
    let checkpoint = house.get("/log/1/checkpoint").await.expect(200);
    assert_eq!(
        checkpoint.header("content-type"),
        "text/plain; charset=utf-8"
    );
    assert_eq!(checkpoint.header("cache-control"), "max-age=5, public");
    let mut lines = checkpoint.text().lines();
    assert_eq!(lines.next(), Some("localhost:8417/log/1"));
    let size: u64 = lines.next().unwrap().parse().unwrap();
    assert!(size >= 2);
    for (path, length) in [
        (format!("/log/1/tile/0/000.p/{size}"), Some(32 * size)),
        (format!("/log/1/tile/entries/000.p/{size}"), None),
    ] {
        let tile = house.get(&path).await.expect(200);
        assert_eq!(tile.header("content-type"), "application/octet-stream");
        assert_eq!(
            tile.header("cache-control"),
            "public, max-age=31536000, immutable"
        );
        if let Some(length) = length {
            assert_eq!(tile.body.len() as u64, length);
        }
        house
            .get_with(&path, &[("if-none-match", tile.header("etag"))])
            .await
            .expect(304);
    }
    let proof = house.get("/log/1/leaf/1.tlog-proof").await.expect(200);
    assert!(proof.text().contains("\nindex 1\n"), "{}", proof.text());
}

#[tokio::test]
async fn what_is_not_in_the_log_is_404() {
    let house = house().await;
    for path in [
        "/log/7/checkpoint",
        "/log/01/checkpoint",
        "/log/1/tile/0/001",
        "/log/1/tile/0/000",
        "/log/1/tile/00/000",
        "/log/1/tile/0/../0/000",
        "/log/1/tile/nonsense",
        "/log/1/tile/entries/000.p/0",
        "/log/1/leaf/999999.tlog-proof",
        "/log/1/leaf/00.tlog-proof",
        "/log/1/leaf/0",
        "/log/1/leaf/-1.tlog-proof",
    ] {
        house.get(path).await.expect(404);
    }
}
