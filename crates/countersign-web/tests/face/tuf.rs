use std::io::{Cursor, Read as _};

use countersign_formats::archive::gzip::GzipReader;

use crate::house::house;

#[tokio::test]
async fn metadata_is_packed_for_those_who_take_it_so() {
    let house = house().await;
    house.published("sample", "1.0").await;
    let path = "/tuf/pypi/1.root.json";
    let plain = house.get(path).await.expect(200);
    assert!(plain.body.len() > 1_024, "{} bytes", plain.body.len());
    assert!(!plain.headers.contains_key("content-encoding"));
    assert_eq!(plain.header("vary"), "Accept-Encoding");
    let packed = house
        .get_with(path, &[("accept-encoding", "br, gzip")])
        .await
        .expect(200);
    assert_eq!(packed.header("content-encoding"), "gzip");
    assert_eq!(packed.header("vary"), "Accept-Encoding");
    assert!(packed.body.len() < plain.body.len());
    let mut unpacked = Vec::new();
    let mut reader = GzipReader::new(Cursor::new(&packed.body), false).unwrap();
    reader.read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain.body);
    // Other bytes under other tags, each good for its own form.
    assert_ne!(packed.header("etag"), plain.header("etag"));
    for (tag, encoding) in [
        (packed.header("etag"), "gzip"),
        (plain.header("etag"), "identity"),
    ] {
        let headers = [("accept-encoding", encoding), ("if-none-match", tag)];
        house.get_with(path, &headers).await.expect(304);
    }
    let refused = house
        .get_with(path, &[("accept-encoding", "gzip;q=0")])
        .await
        .expect(200);
    assert_eq!(refused.body, plain.body);
}
