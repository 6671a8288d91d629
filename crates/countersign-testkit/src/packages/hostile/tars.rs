//! Source distributions whose container lies.

use super::super::tar::{GNU, TarArchive, TarHeader, gzip};
use super::super::{Package, Wheel};
use super::sdist;

type Attack = (&'static str, Package);

/// Puts something between the good files and the end of the archive. The closure gets the top folder with a slash.
fn added(attack: &'static str, add: impl FnOnce(TarArchive, &str) -> TarArchive) -> Attack {
    let sdist = sdist(attack);
    let archive = add(sdist.archive(), &format!("{}/", sdist.top()));
    (attack, sdist.package(archive.end().gzip()))
}

/// Changes the finished tar stream before compression.
fn stream(attack: &'static str, change: impl FnOnce(&mut Vec<u8>)) -> Attack {
    let sdist = sdist(attack);
    let mut archive = sdist.archive().end();
    change(&mut archive.bytes);
    (attack, sdist.package(archive.gzip()))
}

/// Changes the finished gzip file.
fn compressed(attack: &'static str, change: impl FnOnce(&mut Vec<u8>)) -> Attack {
    let mut package = sdist(attack).build();
    change(&mut package.bytes);
    (attack, package)
}

fn link(name: String, kind: u8, target: &str) -> TarHeader {
    TarHeader {
        link: target.as_bytes().to_vec(),
        ..TarHeader::new(name, kind)
    }
}

fn sized(name: String, kind: u8, size: u64) -> TarHeader {
    TarHeader {
        size,
        ..TarHeader::new(name, kind)
    }
}

fn raw_sized(name: String, raw: [u8; 12]) -> TarHeader {
    TarHeader {
        raw_size: Some(raw),
        ..TarHeader::new(name, b'0')
    }
}

pub(super) fn attacks() -> Vec<Attack> {
    let mut attacks = names_and_links();
    attacks.extend(extensions());
    attacks.extend(framing());
    attacks
}

fn names_and_links() -> Vec<Attack> {
    vec![
        added("tar-dotdot-path", |tar, top| {
            tar.file(format!("{top}../../etc/evil"), b"x")
        }),
        added("tar-absolute-path", |tar, _| tar.file("/etc/evil", b"x")),
        added("tar-second-top-folder", |tar, _| {
            tar.file("other-1.0/evil.py", b"x")
        }),
        added("tar-backslash", |tar, top| {
            tar.file(format!("{top}..\\evil"), b"x")
        }),
        added("tar-control-character-in-name", |tar, top| {
            tar.file(format!("{top}a\u{1b}[2J"), b"x")
        }),
        added("tar-bidi-override-in-name", |tar, top| {
            tar.file(format!("{top}a\u{202e}txt.exe"), b"x")
        }),
        added("tar-name-not-utf8", |tar, top| {
            tar.file([top.as_bytes(), b"\xff\xfe"].concat(), b"x")
        }),
        added("tar-duplicate-member", |tar, top| {
            tar.file(format!("{top}a"), b"one")
                .file(format!("{top}a"), b"two")
        }),
        added("tar-second-pkg-info", |tar, top| {
            tar.file(
                format!("{top}PKG-INFO"),
                b"Metadata-Version: 2.1\nName: other\nVersion: 9\n",
            )
        }),
        added("tar-file-that-is-also-a-folder", |tar, top| {
            tar.file(format!("{top}a"), b"one")
                .file(format!("{top}a/b"), b"two")
        }),
        added("tar-symlink-outside", |tar, top| {
            tar.entry(&link(format!("{top}s"), b'2', "/etc/passwd"), b"")
        }),
        added("tar-symlink-dotdot", |tar, top| {
            tar.entry(&link(format!("{top}s"), b'2', "../../etc"), b"")
        }),
        added("tar-write-through-symlink", |tar, top| {
            tar.entry(&link(format!("{top}d"), b'2', "/etc"), b"")
                .file(format!("{top}d/evil"), b"x")
        }),
        added("tar-hardlink-outside", |tar, top| {
            tar.entry(&link(format!("{top}h"), b'1', "/etc/passwd"), b"")
        }),
        added("tar-fifo", |tar, top| {
            tar.entry(&TarHeader::new(format!("{top}f"), b'6'), b"")
        }),
        added("tar-character-device", |tar, top| {
            tar.entry(&TarHeader::new(format!("{top}c"), b'3'), b"")
        }),
        added("tar-block-device", |tar, top| {
            tar.entry(&TarHeader::new(format!("{top}b"), b'4'), b"")
        }),
        added("tar-unknown-member-type", |tar, top| {
            tar.entry(&TarHeader::new(format!("{top}z"), b'Z'), b"")
        }),
        added("tar-folder-with-data", |tar, top| {
            tar.entry(&sized(format!("{top}d/"), b'5', 512), &[b'x'; 512])
        }),
    ]
}

fn extensions() -> Vec<Attack> {
    let hidden = |top: &str| {
        TarArchive::default()
            .file(format!("{top}evil.py"), b"evil")
            .bytes
    };
    vec![
        added("tar-nul-in-pax-path", |tar, top| {
            tar.pax(b'x', &[("path", format!("{top}a\0b").as_bytes())])
                .file(format!("{top}c"), b"x")
        }),
        added("tar-pax-path-dotdot", |tar, top| {
            tar.pax(b'x', &[("path", format!("{top}../../evil").as_bytes())])
                .file(format!("{top}c"), b"x")
        }),
        added("tar-pax-size-larger-than-header", |tar, top| {
            // Readers that honour PAX skip the inner header as data, others see a file.
            let inner = hidden(top);
            let mut tar = tar
                .pax(b'x', &[("size", inner.len().to_string().as_bytes())])
                .entry(&TarHeader::new(format!("{top}blob"), b'0'), b"");
            tar.bytes.extend_from_slice(&inner);
            tar
        }),
        added("tar-pax-size-smaller-than-header", |tar, top| {
            let inner = hidden(top);
            tar.pax(b'x', &[("size", b"0")]).entry(
                &sized(format!("{top}blob"), b'0', inner.len() as u64),
                &inner,
            )
        }),
        added("tar-pax-then-gnu-long-name", |tar, top| {
            let long = format!("{top}long\0");
            tar.pax(b'x', &[("size", b"512")])
                .gnu_long_name(long.as_bytes())
                .file(format!("{top}z"), b"y")
        }),
        added("tar-two-pax-headers", |tar, top| {
            tar.pax(b'x', &[("path", format!("{top}one").as_bytes())])
                .pax(b'x', &[("path", format!("{top}two").as_bytes())])
                .file(format!("{top}z"), b"y")
        }),
        added("tar-duplicate-pax-key", |tar, top| {
            let (one, two) = (format!("{top}one"), format!("{top}two"));
            tar.pax(b'x', &[("path", one.as_bytes()), ("path", two.as_bytes())])
                .file(format!("{top}z"), b"y")
        }),
        added("tar-global-pax-path", |tar, top| {
            tar.pax(b'g', &[("path", format!("{top}g").as_bytes())])
                .file(format!("{top}z"), b"y")
        }),
        added("tar-pax-path-and-gnu-long-name", |tar, top| {
            let header = TarHeader {
                size: 1,
                magic: GNU,
                ..TarHeader::new(format!("{top}z"), b'0')
            };
            tar.pax(b'x', &[("path", format!("{top}one").as_bytes())])
                .gnu_long_name(format!("{top}two\0").as_bytes())
                .entry(&header, b"y")
        }),
        added("tar-gnu-long-name-with-tail", |tar, top| {
            let header = TarHeader {
                size: 1,
                magic: GNU,
                ..TarHeader::new(format!("{top}z"), b'0')
            };
            tar.gnu_long_name(format!("{top}a\0/../../etc/x\0\0").as_bytes())
                .entry(&header, b"y")
        }),
        added("tar-gnu-sparse", |tar, top| {
            tar.entry(
                &TarHeader {
                    magic: GNU,
                    ..TarHeader::new(format!("{top}s"), b'S')
                },
                b"",
            )
        }),
        added("tar-pax-sparse", |tar, top| {
            tar.pax(
                b'x',
                &[
                    ("GNU.sparse.major", b"1"),
                    ("GNU.sparse.minor", b"0"),
                    ("GNU.sparse.name", format!("{top}real").as_bytes()),
                    ("GNU.sparse.realsize", b"999999999"),
                ],
            )
            .file(
                format!("{top}GNUSparseFile.0/x"),
                &[b"0\n".as_slice(), &[0; 510]].concat(),
            )
        }),
        added("tar-pax-record-length-lies", |tar, top| {
            tar.entry(
                &sized("PaxHeader".into(), b'x', 20),
                b"9 path=p\nXXXXXXXXXXX",
            )
            .file(format!("{top}z"), b"y")
        }),
        added("tar-negative-size", |tar, top| {
            tar.entry(&raw_sized(format!("{top}n"), [0xff; 12]), b"")
        }),
        added("tar-huge-size", |tar, top| {
            tar.entry(&raw_sized(format!("{top}n"), *b"77777777777\0"), b"")
        }),
        added("tar-bad-checksum", |tar, top| {
            tar.entry(
                &TarHeader {
                    bad_checksum: true,
                    ..TarHeader::new(format!("{top}n"), b'0')
                },
                b"",
            )
        }),
    ]
}

fn framing() -> Vec<Attack> {
    let late = || TarArchive::default().file("late-1.0/evil.py", b"x");
    let mut attacks = vec![
        stream("tar-data-after-the-end", |bytes| {
            bytes.extend_from_slice(&late().end().bytes)
        }),
        stream("tar-entry-after-one-zero-block", |bytes| {
            bytes.truncate(bytes.len() - 512);
            bytes.extend_from_slice(&late().end().bytes);
        }),
        stream("tar-cut-off", |bytes| {
            bytes.truncate(700);
        }),
        compressed("tar-two-gzip-members", |bytes| {
            bytes.extend_from_slice(&late().end().gzip())
        }),
        compressed("tar-junk-after-gzip", |bytes| {
            bytes.extend_from_slice(b"junk")
        }),
        compressed("gzip-that-is-also-a-zip", |bytes| {
            let zip = Wheel::new("other", "1.0").archive();
            bytes.extend_from_slice(&zip.to_bytes());
        }),
        compressed("gzip-wrong-crc", |bytes| {
            let at = bytes.len() - 8;
            bytes[at] ^= 1;
        }),
        compressed("gzip-cut-off", |bytes| bytes.truncate(bytes.len() - 20)),
        compressed("sdist-that-is-a-zip", |bytes| {
            *bytes = Wheel::new("other", "1.0").build().bytes
        }),
        compressed("sdist-that-is-empty", Vec::clear),
        compressed("sdist-not-compressed", |bytes| *bytes = late().end().bytes),
        compressed("sdist-gzip-in-gzip", |bytes| *bytes = gzip(bytes)),
        added("tar-bomb", |tar, top| {
            tar.file(format!("{top}zeros"), &vec![0; 100 << 20])
        }),
    ];
    attacks.push(added("tar-too-many-members", |mut tar, top| {
        for number in 0..60_000u32 {
            tar = tar.file(format!("{top}m/{number}"), b"");
        }
        tar
    }));
    attacks
}
