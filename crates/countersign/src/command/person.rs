//! A registry that is asked in the user's own name, and what it asks of the user.

use std::cell::RefCell;
use std::io::IsTerminal;
use std::time::Duration;

use countersign::approval::News;
use countersign::login::Whence;
use countersign::people::Deed;
use countersign::remote::Remote;
use countersign::trusted::TrustFile;
use countersign::{Exit, Failure};
use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::session::browser;
use super::{authorities, credential, interrupt, line, meant, notes, trust_path};
use crate::cli::Common;

/// How an answer is told to people.
pub type Describe = fn(&Value) -> Result<Vec<String>, Failure>;

/// A user at a registry.
pub struct Person<'a> {
    common: &'a Common,
    /// The registry, addressed with the user's credential.
    pub remote: Remote,
    /// Where that is from.
    pub from: Whence,
}

impl<'a> Person<'a> {
    /// The user by the credential that is there.
    ///
    /// # Errors
    /// Exit 2 where there is none.
    pub fn of(common: &'a Common) -> Result<Self, Failure> {
        let trust = TrustFile::load(&trust_path(common)?)?;
        let url = meant(common, &trust)?;
        let remote = Remote::new(&url, None, authorities(common)?.as_deref())?;
        let credential = credential(&url)?.ok_or_else(|| {
            Failure::new(
                Exit::Usage,
                "no-credential",
                format!(
                    "Nobody is logged in at {}, and COUNTERSIGN_TOKEN is not set.",
                    remote.site()
                ),
            )
            .remedy(format!(
                "Log in: countersign login --registry {}. Or set COUNTERSIGN_TOKEN to a token with the manage action.",
                remote.site()
            ))
        })?;
        Ok(Self {
            common,
            remote: remote.with_token(Some(credential.token))?,
            from: credential.from,
        })
    }

    /// Says which credential is used.
    pub fn announce(&self) {
        notes(self.common)(&format!(
            "Asking {} with {}.",
            self.remote.site(),
            self.from
        ));
    }

    /// A failure with what to do about a login that has ended.
    pub fn explained(&self, failure: Failure) -> Failure {
        match &self.from {
            Whence::Login { .. } if failure.unauthenticated => failure.remedy(format!(
                "Log in again: countersign login --registry {}",
                self.remote.site()
            )),
            _ => failure,
        }
    }

    /// Reads, and tells the answer.
    pub fn read(&self, deed: Deed, describe: Describe) -> Result<(), Failure> {
        let answer = deed
            .get(&self.remote)
            .map_err(|failure| self.explained(failure))?;
        self.tell(&answer, describe)
    }

    /// Changes, with a passkey's approval where the registry asks for one, and tells the answer.
    pub fn change(&self, deed: Deed, describe: Describe) -> Result<(), Failure> {
        let answer = self.approved(|asking| deed.act(&self.remote, asking))?;
        self.tell(&answer, describe)
    }

    /// Changes what has no answer, and says that it is done.
    pub fn done(&self, deed: Deed, text: &str) -> Result<(), Failure> {
        self.approved(|asking| deed.act(&self.remote, asking))?;
        line(&if self.common.json {
            json!({"done": text}).to_string()
        } else {
            text.to_owned()
        });
        Ok(())
    }

    fn tell(&self, answer: &Value, describe: Describe) -> Result<(), Failure> {
        if self.common.json {
            line(&answer.to_string());
        } else {
            describe(answer)?.iter().for_each(|text| line(text));
        }
        Ok(())
    }

    /// Does something that may wait for a person, who is shown where.
    pub fn approved<T>(
        &self,
        deed: impl FnOnce(countersign::approval::Asking<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let bar: RefCell<Option<ProgressBar>> = RefCell::new(None);
        let deaf: RefCell<Option<Failure>> = RefCell::new(None);
        let say = notes(self.common);
        let outcome = deed(&|news| match news {
            News::Asked(request) => {
                if self.common.json {
                    let told = json!({"approval": {
                        "url": request.url, "code": request.code, "what": request.what, "on": request.on,
                        "digest": request.digest,
                    }});
                    eprintln!("{told}");
                } else {
                    eprintln!("This takes your passkey. Open this page, compare, and approve:");
                    eprintln!();
                    eprintln!("    {}", request.url);
                    eprintln!("    {}  {} {}", request.code, request.what, request.on);
                    if let Some(digest) = &request.digest {
                        eprintln!("    sha256:{digest}");
                    }
                    eprintln!();
                    // Only the registry's own page: what answers is not believed further than that.
                    let own = format!("{}/", self.remote.site());
                    if request.url.starts_with(&own) && browser(&request.url) {
                        eprintln!("Your browser was asked to open it.");
                    }
                }
                let told = "The request for an approval ends by itself.";
                if let Err(failure) = interrupt::then(move || eprintln!("{told}")) {
                    *deaf.borrow_mut() = Some(failure);
                }
                if !self.common.json && std::io::stderr().is_terminal() {
                    let spinner = ProgressBar::new_spinner()
                        .with_message("Waiting for the approval; Ctrl-C gives up.");
                    spinner.enable_steady_tick(Duration::from_millis(120));
                    *bar.borrow_mut() = Some(spinner);
                }
            }
            News::Trouble(text) => {
                let text = format!("{text} Still trying.");
                match &*bar.borrow() {
                    Some(bar) => bar.suspend(|| say(&text)),
                    None => say(&text),
                }
            }
            News::Over => {
                if let Some(bar) = bar.borrow_mut().take() {
                    bar.finish_and_clear();
                }
            }
        });
        if let Some(failure) = deaf.into_inner() {
            say(&format!("Warning: {}", failure.message));
        }
        outcome.map_err(|failure| self.explained(failure))
    }
}
