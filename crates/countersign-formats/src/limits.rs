//! The bounds every parser of foreign bytes keeps to.

use serde::{Deserialize, Serialize};

const MIB: u64 = 1 << 20;

/// Bounds and rules of inspection. Sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Largest artifact.
    pub max_file_size: u64,
    /// Most bytes an archive may unpack to.
    pub max_unpacked: u64,
    /// Above this many unpacked bytes the ratio rule applies.
    pub ratio_floor: u64,
    /// Unpacked size divided by file size from which an archive above `ratio_floor` is a bomb.
    pub max_ratio: u64,
    /// Most members of an archive.
    pub max_entries: usize,
    /// Largest central directory of a zip, or extension headers of a tar; both are held in memory.
    pub max_directory: u64,
    /// Longest path of a member.
    pub max_member_path: usize,
    /// Largest METADATA or PKG-INFO.
    pub max_metadata: u64,
    /// Largest RECORD, WHEEL or entry_points.txt.
    pub max_control_file: u64,
    /// Longest file name of an artifact.
    pub max_filename: usize,
    /// Largest index document read by `promises`.
    pub max_document: usize,
    /// Require an sdist to be named exactly `{normalised_name}-{canonical version}.tar.gz` (PEP 625).
    /// Off by default, because importing older real sdists matters; then it is enough that the name
    /// normalises to the same key and the version is equal.
    pub strict_sdist_name: bool,
    /// Accept wheels tagged for plain `linux_x86_64` and the like, which say nothing about the
    /// C library they need. Off by default.
    pub allow_plain_linux: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_file_size: 1024 * MIB,
            max_unpacked: 512 * MIB,
            ratio_floor: 64 * MIB,
            max_ratio: 50,
            max_entries: 50_000,
            max_directory: 16 * MIB,
            max_member_path: 1024,
            max_metadata: MIB,
            max_control_file: 16 * MIB,
            max_filename: 255,
            max_document: 64 << 20,
            strict_sdist_name: false,
            allow_plain_linux: false,
        }
    }
}
