//! In place of YARA, where a build is without it.

use countersign_registry::scan::Matcher;

/// Is this engine in this build?
pub const BUILT: bool = false;

/// There is nothing to compile.
///
/// # Errors
/// Where there are files of such rules.
pub fn compile(files: &[(String, String)]) -> Result<Vec<u8>, String> {
    match files {
        [] => Ok(Vec::new()),
        [(path, _), ..] => Err(format!("{path}: this build has no YARA")),
    }
}

/// No rules.
pub struct Rules;

impl Rules {
    /// Of nothing.
    ///
    /// # Errors
    /// There are some.
    pub fn load(bytes: &[u8]) -> Result<Self, String> {
        if bytes.is_empty() {
            Ok(Self)
        } else {
            Err("this build has no YARA".to_owned())
        }
    }

    /// Looks at nothing.
    pub fn matcher(&self) -> impl Matcher {
        Blind
    }
}

struct Blind;

impl Matcher for Blind {
    fn matches(
        &mut self,
        _: countersign_formats::Ecosystem,
        _: &str,
        _: &[u8],
    ) -> Result<Vec<countersign_registry::scan::Hit>, String> {
        Ok(Vec::new())
    }
}
