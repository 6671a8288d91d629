//! Bodies of publications and changes: cut anywhere they are the same, and what is a publication has
//! the tarball that its text says.
#![no_main]

use countersign_formats::{
    Limits, Rejection,
    npm::publish::{Body, PublishReader},
};
use libfuzzer_sys::fuzz_target;

fn read(pieces: &[&[u8]]) -> Result<(Body, Vec<u8>), Rejection> {
    let limits = Limits { max_file_size: 1 << 16, ..Limits::default() };
    let mut reader = PublishReader::new(&limits);
    let mut bytes = Vec::new();
    for piece in pieces {
        reader.push(piece, &mut |part| {
            bytes.extend_from_slice(part);
            Ok(())
        })?;
    }
    Ok((reader.finish()?, bytes))
}

fuzz_target!(|data: &[u8]| {
    let whole = read(&[data]);
    let middle = data.first().map_or(0, |first| usize::from(*first) * data.len() / 256);
    let halves = read(&[&data[..middle], &data[middle..]]);
    assert_eq!(whole.is_ok(), halves.is_ok());
    let Ok((body, bytes)) = whole else { return };
    assert_eq!(halves.expect("both are good"), (body.clone(), bytes.clone()));
    // What is accepted is JSON for everybody.
    let value: serde_json::Value = serde_json::from_slice(data).expect("JSON");
    if let Body::Publish(publish) = body {
        assert_eq!(publish.size, bytes.len() as u64);
        let attachment = format!("{}-{}.tgz", publish.name, publish.version);
        assert!(value["_attachments"][&attachment]["data"].is_string());
        assert!(value["versions"][&publish.version].is_object());
    }
});
