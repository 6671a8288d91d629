//! Where a monitor tells what it found: a webhook, mail, a feed. (The terminal is the command's.)

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use lettre::message::Mailbox;
use lettre::{SmtpTransport, Transport};
use reqwest::blocking::Client;
use reqwest::redirect;
use serde_json::json;
use url::Url;

use super::Happening;
use crate::failure::{Exit, Failure, Result};
use crate::trusted::write_whole;

/// How long a webhook or a mail server may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// By mail.
#[derive(Clone, Debug)]
pub struct Mail {
    /// To whom.
    pub to: Mailbox,
    /// From whom.
    pub from: Mailbox,
    /// `smtps://USER:PASSWORD@HOST`, `smtp://HOST:PORT` and so on; else this machine's `sendmail`.
    pub smtp: Option<String>,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Outputs {
    /// JSON is posted there.
    pub webhook: Option<Url>,
    /// A mail for each round that has something to tell.
    pub mail: Option<Mail>,
    /// A feed is kept there.
    pub atom: Option<PathBuf>,
}

impl Outputs {
    /// Tells what is new; `recent` is what stands in the feed.
    ///
    /// # Errors
    /// Exit 5 for who can not be reached, exit 1 for what can not be written.
    pub fn tell(&self, site: &Url, new: &[Happening], recent: &[Happening]) -> Result<()> {
        if let Some(path) = &self.atom
            && (!new.is_empty() || !path.exists())
        {
            write_whole(path, feed(site, recent).as_bytes())?;
        }
        if new.is_empty() {
            return Ok(());
        }
        if let Some(webhook) = &self.webhook {
            post(webhook, &json!({"registry": site, "happenings": new}))?;
        }
        if let Some(mail) = &self.mail {
            let subject = match new {
                [one] => one.text.clone(),
                many => format!("{} changes in the log of {}", many.len(), host(site)),
            };
            let lines: Vec<String> = new
                .iter()
                .map(|one| format!("{}  {}", one.time, one.text))
                .collect();
            send(mail, &subject, &lines.join("\n"))?;
        }
        Ok(())
    }

    /// Tells that the log lied. What does not get through is said on standard error, and the process ends with its code.
    pub fn alarm(&self, site: &Url, failure: &Failure) {
        let mut outcomes = Vec::new();
        if let Some(webhook) = &self.webhook {
            outcomes.push(post(
                webhook,
                &json!({"registry": site, "alarm": failure.json()["error"]}),
            ));
        }
        if let Some(mail) = &self.mail {
            let subject = format!("ALARM: the log of {} does not hold", host(site));
            outcomes.push(send(mail, &subject, &failure.to_string()));
        }
        for outcome in outcomes {
            if let Err(error) = outcome {
                eprintln!("countersign: {error}");
            }
        }
    }
}

fn host(site: &Url) -> &str {
    site.host_str().unwrap_or("the registry")
}

fn post(webhook: &Url, body: &serde_json::Value) -> Result<()> {
    let failed = |why: String| {
        Failure::new(
            Exit::Unreachable,
            "webhook",
            format!("The webhook at {} can not be told: {why}.", host(webhook)),
        )
        .remedy("What is new is told again the next time.")
    };
    let client = Client::builder()
        .timeout(PATIENCE)
        .redirect(redirect::Policy::none())
        .build()
        .map_err(|error| failed(error.without_url().to_string()))?;
    let answer = client
        .post(webhook.clone())
        .header("content-type", "application/json")
        .body(body.to_string())
        .send()
        .map_err(|error| failed(error.without_url().to_string()))?;
    if answer.status().is_success() {
        return Ok(());
    }
    Err(failed(format!("it answers {}", answer.status())))
}

fn send(mail: &Mail, subject: &str, text: &str) -> Result<()> {
    let failed = |why: String| {
        Failure::new(
            Exit::Unreachable,
            "mail",
            format!("The mail to {} can not be sent: {why}.", mail.to.email),
        )
        .remedy("What is new is told again the next time.")
    };
    let letter = lettre::Message::builder()
        .from(mail.from.clone())
        .to(mail.to.clone())
        .subject(subject)
        .body(format!("{text}\n"))
        .map_err(|error| failed(error.to_string()))?;
    if let Some(smtp) = &mail.smtp {
        let transport = SmtpTransport::from_url(smtp)
            .map_err(|error| failed(error.to_string()))?
            .timeout(Some(PATIENCE))
            .build();
        return transport
            .send(&letter)
            .map(drop)
            .map_err(|error| failed(error.to_string()));
    }
    let mut child = Command::new("sendmail")
        .args(["-i", "-t"])
        .stdin(Stdio::piped())
        .spawn()
        .map_err(|error| failed(format!("sendmail: {error}")))?;
    let written = match child.stdin.take() {
        Some(mut stdin) => stdin.write_all(&letter.formatted()),
        None => Ok(()),
    };
    let ended = child
        .wait()
        .map_err(|error| failed(format!("sendmail: {error}")))?;
    written.map_err(|error| failed(format!("sendmail: {error}")))?;
    if ended.success() {
        return Ok(());
    }
    Err(failed(format!("sendmail ended with {ended}")))
}

/// The feed: Atom (RFC 4287), newest first.
fn feed(site: &Url, recent: &[Happening]) -> String {
    let mut text = String::from(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<feed xmlns=\"http://www.w3.org/2005/Atom\">\n",
    );
    let address = escaped(site.as_str());
    let newest = recent.iter().map(|one| one.time.as_str()).max();
    let updated = escaped(newest.unwrap_or("1970-01-01T00:00:00.000000Z"));
    // Writing into a text can not fail.
    let _ = write!(
        text,
        "<title>Watched projects of {}</title>\n<id>{address}#countersign-monitor</id>\n<updated>{updated}</updated>\n<author><name>countersign log monitor</name></author>\n",
        escaped(host(site))
    );
    for one in recent.iter().rev() {
        let _ = write!(
            text,
            "<entry>\n<title>{}</title>\n<id>urn:countersign:leaf:{}</id>\n<updated>{}</updated>\n<link href=\"{address}\"/>\n<content type=\"text\">{}</content>\n</entry>\n",
            escaped(&one.text),
            escaped(&one.leaf),
            escaped(&one.time),
            escaped(&format!(
                "Leaf {} of {}: {}",
                one.number, one.project, one.kind
            )),
        );
    }
    text.push_str("</feed>\n");
    text
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            letter if letter.is_control() => {}
            letter => out.push(letter),
        }
    }
    out
}
