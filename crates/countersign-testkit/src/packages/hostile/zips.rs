//! Wheels whose container lies.

use super::super::zip::{Zip64End, ZipArchive, ZipMember, deflate, descriptor, zip64_extra};
use super::super::{Package, Wheel, escape, tar};
use super::wheel;

type Attack = (&'static str, Package);

/// A file that each damaged wheel carries besides its module; the attacks are done to it.
const VICTIM: &str = "victim.txt";
const CONTENT: &[u8] = b"the quick brown fox jumps over the lazy dog, the quick brown fox\n";

fn with_victim(attack: &str) -> Wheel {
    wheel(attack).file(VICTIM, CONTENT)
}

/// Damages the victim's records.
fn member(attack: &'static str, damage: impl FnOnce(&mut ZipMember)) -> Attack {
    let wheel = with_victim(attack);
    let mut archive = wheel.archive();
    damage(archive.member(VICTIM));
    (attack, wheel.package(archive.to_bytes()))
}

/// Damages the archive around the members.
fn whole(attack: &'static str, damage: impl FnOnce(&mut ZipArchive)) -> Attack {
    let wheel = with_victim(attack);
    let mut archive = wheel.archive();
    damage(&mut archive);
    (attack, wheel.package(archive.to_bytes()))
}

/// A wheel with one more file of a bad name, listed in RECORD.
fn named(attack: &'static str, name: &str) -> Attack {
    (attack, wheel(attack).file(name, CONTENT).build())
}

/// A wheel with two more files.
fn two(attack: &'static str, first: &str, second: &str) -> Attack {
    (
        attack,
        wheel(attack)
            .file(first, CONTENT)
            .file(second, CONTENT)
            .build(),
    )
}

pub(super) fn attacks() -> Vec<Attack> {
    let length = CONTENT.len() as u32;
    let crc = crc32fast::hash(CONTENT);
    let mut attacks = vec![
        whole("zip-duplicate-member", |archive| {
            archive
                .members
                .insert(0, ZipMember::new(VICTIM, "another fox\n"))
        }),
        two("zip-names-equal-but-for-case", "readme.txt", "README.txt"),
        two(
            "zip-names-equal-but-for-unicode-form",
            "caf\u{e9}.txt",
            "cafe\u{301}.txt",
        ),
        whole("zip-prefix-bytes", |archive| {
            archive.prefix = b"#!/bin/sh\nexit 0\n".to_vec()
        }),
        whole("zip-prefix-elf", |archive| {
            archive.prefix = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec()
        }),
        whole("zip-prefix-html", |archive| {
            archive.prefix = b"<!doctype html><script>alert(1)</script>".to_vec()
        }),
        whole("zip-suffix-bytes", |archive| {
            archive.suffix = b"trailing".to_vec()
        }),
        whole("zip-two-end-records", |archive| archive.end_twice = true),
        whole("zip-end-record-inside-comment", |archive| {
            archive.comment = ZipArchive::default().to_bytes();
        }),
        whole("zip-gap-between-members", |archive| {
            archive.member(VICTIM).gap = vec![0; 64]
        }),
        whole("zip-member-only-local", |archive| {
            archive.members.push(ZipMember {
                hidden: true,
                ..ZipMember::new("hidden.py", "import os\n")
            });
        }),
        whole("zip-member-only-central", |archive| {
            archive.members.push(ZipMember {
                phantom: true,
                offset: Some(0),
                ..ZipMember::new("ghost.py", "import os\n")
            });
        }),
        whole("zip-overlapping-members", |archive| {
            // Two central records share one local header: the root of the overlapping bomb.
            let at = archive
                .members
                .iter()
                .position(|member| member.name == VICTIM.as_bytes())
                .unwrap_or(0);
            let mut before = archive.clone();
            before.members.truncate(at);
            let empty = ZipArchive::default().to_bytes().len();
            let central: usize = before
                .members
                .iter()
                .map(|member| 46 + member.name.len())
                .sum();
            let offset = (before.to_bytes().len() - empty - central) as u32;
            let mut twin = archive.members[at].clone();
            twin.phantom = true;
            twin.name = b"twin.txt".to_vec();
            twin.offset = Some(offset);
            archive.members.insert(at + 1, twin);
        }),
        whole("zip64-end-record-without-locator", |archive| {
            archive.zip64 = Some(Zip64End::RecordOnly)
        }),
        whole("zip64-locator-without-end-record", |archive| {
            archive.zip64 = Some(Zip64End::LocatorOnly)
        }),
        whole("zip64-end-record-counts-otherwise", |archive| {
            archive.zip64 = Some(Zip64End::Both { extra: 1 })
        }),
        whole("zip-multiple-disks", |archive| archive.disk = 1),
        member("zip-local-name-differs", |victim| {
            victim.local_name = Some(b"victom.txt".to_vec())
        }),
        member("zip-local-size-differs", |victim| {
            victim.local_size = Some(length - 1)
        }),
        member("zip-local-compressed-size-differs", |victim| {
            victim.local_compressed_size = Some(3)
        }),
        member("zip-wrong-crc", |victim| victim.crc = Some(crc ^ 1)),
        member("zip-declared-size-too-small", |victim| {
            victim.size = Some(length - 8)
        }),
        member("zip-declared-size-too-large", |victim| {
            victim.size = Some(length + 8)
        }),
        member("zip-stored-with-two-sizes", |victim| {
            victim.deflate = false;
            victim.size = Some(length - 8);
        }),
        member("zip-bytes-after-deflate-end", |victim| {
            let mut raw = deflate(CONTENT);
            raw.extend_from_slice(b"smuggled");
            victim.raw = Some(raw);
        }),
        member("zip-deflate-cut-off", |victim| {
            let mut raw = deflate(CONTENT);
            raw.truncate(raw.len() - 4);
            victim.raw = Some(raw);
        }),
        member("zip64-extra-says-another-size", |victim| {
            victim.size = Some(u32::MAX);
            victim.compressed_size = Some(u32::MAX);
            let lie = zip64_extra(&[u64::from(length) + 1, u64::from(length)]);
            victim.local_extra = lie.clone();
            victim.central_extra = lie;
        }),
        member("zip64-extra-too-short", |victim| {
            victim.size = Some(u32::MAX);
            victim.compressed_size = Some(u32::MAX);
            victim.central_extra = zip64_extra(&[u64::from(length)]);
            victim.local_extra = zip64_extra(&[u64::from(length)]);
        }),
        member("zip-unicode-path-extra", |victim| {
            let mut extra = vec![0x75, 0x70, 0, 0, 1];
            extra.extend_from_slice(&crc32fast::hash(VICTIM.as_bytes()).to_le_bytes());
            extra.extend_from_slice(b"other.txt");
            extra[2] = (extra.len() - 4) as u8;
            victim.central_extra = extra.clone();
            victim.local_extra = extra;
        }),
        member("zip-extra-field-overruns", |victim| {
            victim.central_extra = vec![0x99, 0x99, 0xff, 0x00, 1];
            victim.local_extra = vec![0x99, 0x99, 0xff, 0x00, 1];
        }),
        member("zip-method-lzma", |victim| victim.method = Some(14)),
        member("zip-method-deflate64", |victim| victim.method = Some(9)),
        member("zip-encrypted-flag", |victim| victim.flags = 1),
        member("zip-member-on-another-disk", |victim| victim.disk = 3),
        member("zip-data-descriptor-lies", |victim| {
            victim.flags = 8;
            let compressed = deflate(CONTENT).len() as u32;
            victim.local_compressed_size = Some(0);
            victim.local_size = Some(0);
            victim.after = descriptor(crc ^ 1, compressed, length + 1);
        }),
        member("zip-symlink", |victim| {
            victim.deflate = false;
            victim.external_attributes = 0o120_777 << 16;
        }),
        member("zip-device", |victim| {
            victim.external_attributes = 0o020_666 << 16
        }),
        named("zip-absolute-path", "/etc/cron.d/evil"),
        named("zip-dotdot-path", "../../evil.txt"),
        named("zip-dotdot-inside-path", "pkg/../../evil.txt"),
        named("zip-drive-letter", "C:/evil.txt"),
        named("zip-backslash", "..\\evil.txt"),
        named("zip-nul-in-name", "evil.txt\0.py"),
        named("zip-control-character-in-name", "evil\u{1b}[2J.txt"),
        named("zip-bidi-override-in-name", "evil\u{202e}txt.py"),
        named("zip-empty-path-segment", "pkg//evil.txt"),
        two("zip-file-that-is-also-a-folder", "pkg", "pkg/inner.txt"),
        member("zip-name-not-utf8", |victim| {
            victim.name = b"evil\xff\xfe.txt".to_vec()
        }),
        member("zip-empty-name", |victim| victim.name = Vec::new()),
        member("zip-folder-with-data", |victim| {
            victim.name = b"folder/".to_vec();
            victim.external_attributes = 0o040_755 << 16;
        }),
    ];
    let bomb = wheel("zip-bomb").file("zeros.bin", vec![0u8; 100 << 20]);
    attacks.push(("zip-bomb", bomb.build()));
    attacks.push(many_members("zip-too-many-members"));
    let disguised = wheel("wheel-that-is-a-tar");
    let tar = tar::TarArchive::default()
        .file("wheel_that_is_a_tar/__init__.py", b"")
        .end()
        .gzip();
    attacks.push(("wheel-that-is-a-tar", disguised.package(tar)));
    attacks.push((
        "wheel-that-is-empty",
        wheel("wheel-that-is-empty").package(Vec::new()),
    ));
    attacks.push((
        "zip-without-members",
        wheel("zip-without-members").package(ZipArchive::default().to_bytes()),
    ));
    let mut cut = wheel("zip-cut-off").build();
    cut.bytes.truncate(cut.bytes.len() - 30);
    attacks.push(("zip-cut-off", cut));
    attacks.push(zip_and_tar("zip-that-is-also-a-tar"));
    attacks
}

fn many_members(attack: &'static str) -> Attack {
    let mut wheel = wheel(attack);
    for number in 0..60_000u32 {
        wheel = wheel.file(&format!("m/{number}"), "");
    }
    (attack, wheel.build())
}

/// A ZIP whose first local header, name and stored data are at the same time a valid tar header: "the same file" is a
/// wheel to one program and a tarball to another. The tar checksum covers the ZIP's CRC-32, which covers the tar
/// checksum; a few bytes of filler are tried until both agree.
fn zip_and_tar(attack: &'static str) -> Attack {
    let wheel = wheel(attack);
    let name = format!("{}/a", escape(&format!("hostile-{attack}")));
    let begin = 30 + name.len();
    for nonce in 0u32.. {
        let mut data = vec![0u8; 512 - begin + 1024];
        let put = |data: &mut Vec<u8>, at: usize, bytes: &[u8]| {
            data[at - begin..at - begin + bytes.len()].copy_from_slice(bytes)
        };
        put(&mut data, 100, b"0000644\0");
        put(&mut data, 124, b"00000000000\0");
        put(&mut data, 136, b"00000000000\0");
        put(&mut data, 148, b"        ");
        put(&mut data, 156, b"0");
        put(&mut data, 257, b"ustar\x0000");
        put(&mut data, 500, &nonce.to_le_bytes());
        let block = |data: &[u8]| {
            let archive = ZipArchive {
                members: vec![ZipMember::stored(&name, data)],
                ..ZipArchive::default()
            };
            let mut bytes = archive.to_bytes();
            bytes.truncate(512);
            bytes
        };
        let sum = |bytes: &[u8]| -> u32 {
            bytes
                .iter()
                .enumerate()
                .map(|(at, byte)| {
                    if (148..156).contains(&at) {
                        32
                    } else {
                        u32::from(*byte)
                    }
                })
                .sum()
        };
        // Guess that the four bytes of the CRC add up to their mean.
        let draft = block(&data);
        let without_crc = sum(&draft)
            - draft[14..18]
                .iter()
                .map(|byte| u32::from(*byte))
                .sum::<u32>();
        let guess = without_crc + 510;
        put(&mut data, 148, format!("{guess:06o}\0 ").as_bytes());
        if sum(&block(&data)) == guess {
            let with_member = wheel.file(&name, data.clone());
            let mut archive = with_member.archive();
            let at = archive
                .members
                .iter()
                .position(|member| member.name == name.as_bytes())
                .unwrap_or(0);
            let mut first = archive.members.remove(at);
            first.deflate = false;
            archive.members.insert(0, first);
            let package = with_member.package(archive.to_bytes());
            return (attack, package);
        }
    }
    unreachable!("one nonce in about 400 fits")
}
