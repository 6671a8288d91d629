//! What GitHub's and Forgejo's runners read from a job besides its exit code: commands on its output, and the summary.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use crate::ci::{Ci, Variables};
use crate::failure::{Exit, Failure, Result};

/// The runner around this job, where it is one that reads workflow commands.
pub struct Runner {
    summary: Option<PathBuf>,
}

impl Runner {
    /// The runner, if there is one.
    pub fn around(ci: Option<Ci>, variables: Variables<'_>) -> Option<Self> {
        ci.filter(|ci| ci.reads_workflow_commands()).map(|_| Self {
            summary: variables("GITHUB_STEP_SUMMARY").map(PathBuf::from),
        })
    }

    /// Makes the runner replace a secret by asterisks in everything that this job prints from now on.
    ///
    /// The command goes to standard error, which runners read as they read standard output, so that it is never
    /// caught in a variable by `$(…)`.
    pub fn mask(&self, secret: &str) {
        eprintln!("::add-mask::{}", escaped(secret));
    }

    /// Puts a failure where the runner shows it: at the run and at the pull request.
    pub fn annotate(&self, failure: &Failure) {
        let title = escaped(&format!("countersign: {}", failure.code))
            .replace(':', "%3A")
            .replace(',', "%2C");
        eprintln!("::error title={title}::{}", escaped(&failure.to_string()));
    }

    /// Adds Markdown to the summary page of the step.
    ///
    /// # Errors
    /// Exit 1 when the file of the runner can not be written.
    pub fn summarise(&self, markdown: &str) -> Result<()> {
        let Some(path) = &self.summary else {
            return Ok(());
        };
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .and_then(|mut file| file.write_all(markdown.as_bytes()))
            .map_err(|error| {
                Failure::new(
                    Exit::Environment,
                    "step-summary",
                    format!("The step summary can not be written: {error}."),
                )
            })
    }
}

/// The escapes of workflow commands: without them a text of several lines would be several commands.
fn escaped(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// A value inside a cell of a Markdown table, as itself.
pub fn cell(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars().filter(|c| !c.is_control()) {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '|' | '[' | ']' | '(' | ')' | '*' | '_' | '`' | '\\' | '!' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_several_lines_stays_one_command() {
        assert_eq!(escaped("50%\r\n::set-env::x"), "50%25%0D%0A::set-env::x");
    }

    #[test]
    fn a_value_can_not_leave_its_cell() {
        assert_eq!(
            cell("a|b](x)<img>\n`c`"),
            "a\\|b\\]\\(x\\)&lt;img&gt;\\`c\\`"
        );
    }

    #[test]
    fn only_runners_that_read_commands_are_talked_to() {
        let none = |_: &str| None;
        assert!(Runner::around(Some(Ci::Github), &none).is_some());
        assert!(Runner::around(Some(Ci::Forgejo), &none).is_some());
        for other in [
            None,
            Some(Ci::Gitlab),
            Some(Ci::Circleci),
            Some(Ci::Buildkite),
        ] {
            assert!(Runner::around(other, &none).is_none());
        }
    }
}
