//! The registry's policies: what it promises people, in texts that an operator edits and figures that it enforces.
//!
//! A text is Markdown with placeholders (`{{recovery_wait}}`), which are filled from the settings that count, so that
//! a policy can not promise what the software does not do. Built-in texts stand in `policies/`; a text of the
//! operator's with the same name takes its place, one with another name stands beside them. This module reads and
//! fills them; the binary finds the files.

use std::fmt;

use countersign_registry::model::Visibility;
use countersign_registry::{DeletePolicy, LossRule, RecoveryPolicy, Settings};
use jiff::civil::Date;

/// The longest text, in bytes.
pub const LONGEST_POLICY: usize = 128 << 10;
/// The most texts of an operator's own.
pub const MOST_POLICIES: usize = 32;

/// The texts that come with the software, in the order in which they are listed.
const BUILT_IN: [(&str, &str); 5] = [
    (
        "vulnerability-disclosure",
        include_str!("../policies/vulnerability-disclosure.md"),
    ),
    (
        "acceptable-use",
        include_str!("../policies/acceptable-use.md"),
    ),
    (
        "account-recovery",
        include_str!("../policies/account-recovery.md"),
    ),
    ("deletion", include_str!("../policies/deletion.md")),
    (
        "security-model",
        include_str!("../policies/security-model.md"),
    ),
];

/// All policies of a registry, read and checked.
#[derive(Clone, Debug)]
pub struct Policies(Vec<Policy>);

/// One policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The last part of its address: `/policies/NAME`.
    pub name: String,
    /// Its first heading.
    pub title: String,
    /// The day on which the operator last read it and found it right; none: never.
    pub reviewed: Option<Date>,
    /// Whether the operator wrote it, or at least adopted it.
    pub own: bool,
    /// Markdown below the title, with placeholders that exist.
    text: String,
}

/// What is wrong with a text of the operator's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyFault {
    /// Which text.
    pub name: String,
    /// Its line, from 1; 0: the text as a whole.
    pub line: usize,
    /// What is wrong, without a stop at the end.
    pub what: String,
    /// The way out, a sentence.
    pub remedy: String,
}

impl fmt::Display for PolicyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name, line, what, ..
        } = self;
        match line {
            0 => write!(f, "{name}.md: {what}"),
            line => write!(f, "{name}.md:{line}: {what}"),
        }
    }
}

impl std::error::Error for PolicyFault {}

/// What placeholders are filled from.
pub struct PolicyFacts<'a> {
    /// The settings that count.
    pub settings: &'a Settings,
    /// What a recovery asks.
    pub recovery: &'a RecoveryPolicy,
    /// The log's origin.
    pub origin: &'a str,
    /// Who runs the registry, where that is configured.
    pub operator: Option<&'a str>,
    /// Where to report a vulnerability.
    pub contacts: &'a [String],
}

/// A placeholder: its name, what it stands for, and how it is filled.
type Placeholder = (&'static str, &'static str, fn(&PolicyFacts<'_>) -> String);

/// Every placeholder there is.
const PLACEHOLDERS: [Placeholder; 17] = [
    (
        "site",
        "the public address, without a slash at its end",
        |facts| facts.settings.site().to_owned(),
    ),
    ("host", "the host of that", |facts| {
        facts.settings.url.host_str().unwrap_or_default().to_owned()
    }),
    (
        "operator",
        "`operator` of the configuration, or \"the operator of HOST\"",
        |facts| {
            facts.operator.map_or_else(
                || {
                    format!(
                        "the operator of {}",
                        facts.settings.url.host_str().unwrap_or_default()
                    )
                },
                str::to_owned,
            )
        },
    ),
    ("origin", "the origin of the transparency log", |facts| {
        facts.origin.to_owned()
    }),
    ("contacts", "`security_contact`, as a list", |facts| {
        if facts.contacts.is_empty() {
            return "No contact is configured yet. Write to whoever gave you an account here."
                .to_owned();
        }
        let lines: Vec<_> = facts
            .contacts
            .iter()
            .map(|contact| format!("- <{contact}>"))
            .collect();
        lines.join("\n")
    }),
    ("readers", "`visibility`, as who may read", |facts| {
        match facts.settings.visibility {
            Visibility::Public => "everybody",
            Visibility::Restricted => "those with an account",
        }
        .to_owned()
    }),
    (
        "creators",
        "`open_creation`, as who may take a free name",
        |facts| {
            match facts.settings.open_creation {
                true => "any account, by publishing to it",
                false => "accounts to which the operator gave it",
            }
            .to_owned()
        },
    ),
    ("max_file_size", "`limits.max_file_size`", |facts| {
        crate::pages::size(facts.settings.limits.max_file_size)
    }),
    (
        "release_open",
        "`release_open_days`, as how long a release takes files",
        |facts| match facts.settings.release_open {
            None => "as long as it stands".to_owned(),
            Some(open) => format!("for {}", span(open.as_secs())),
        },
    ),
    ("delete_rule", "`delete`, as a sentence", |facts| {
        if facts.settings.delete == DeletePolicy::Never {
            "Only the operator deletes.".to_owned()
        } else if let DeletePolicy::Within(time) = facts.settings.delete {
            format!(
                "Owners may delete a file until {} after it was published; after that only the operator deletes.",
                span(time.as_secs())
            )
        } else if let DeletePolicy::Rules(rules) = facts.settings.delete {
            format!(
                "Owners delete nothing that other projects here depend on. Else they may delete a file until {} after it was \
                 published; later as long as the project has one owner and was downloaded fewer than {} times in {} days.",
                span(rules.within.as_secs()),
                rules.fewer_downloads,
                rules.days
            )
        } else {
            "Owners may delete what they published at any time.".to_owned()
        }
    }),
    ("token_longest", "`token_longest`", |facts| {
        span(facts.settings.token_longest.as_secs())
    }),
    (
        "keep_client_addresses",
        "`accounts.keep_client_addresses`",
        |facts| span(facts.settings.keep_origins.as_secs()),
    ),
    (
        "provenance_loss",
        "`provenance.loss`, as what happens",
        |facts| {
            match facts.settings.provenance_loss {
                LossRule::Refuse => {
                    "refused, unless an owner opened an exception or declared the move beforehand"
                }
                LossRule::Warn => "published with a warning that everybody sees",
            }
            .to_owned()
        },
    ),
    (
        "recovery_proofs",
        "how many proofs a recovery takes",
        |facts| facts.recovery.proofs.to_string(),
    ),
    (
        "recovery_kinds",
        "which proofs those can be, as a list",
        |facts| {
            let lines: Vec<_> = facts.recovery.kinds.iter().map(|kind| match *kind {
            "address" => "- An e-mail address of the account that was proved before, by a link mailed to it; a second address is a second proof. One whose domain was abandoned does not count.",
            "owner" => "- Somebody who owns a project with you, or an owner of your organisation, who says so with a passkey.",
            _ => "- A sign-in at the provider that the account is linked to.",
        }).collect();
            lines.join("\n")
        },
    ),
    ("recovery_wait", "how long a recovery waits", |facts| {
        format!("{} hours", facts.recovery.wait_hours)
    }),
    (
        "recovery_after",
        "operators for critical projects, and the days of restraint, as two sentences",
        |facts| {
            format!(
                "Where the account owns a critical project, {} operators must agree besides. For {} days afterwards the account can neither delete, nor hand over projects, nor make tokens.",
                facts.recovery.operators_for_critical, facts.recovery.restricted_days
            )
        },
    ),
];

/// A time as a policy says it.
fn span(seconds: u64) -> String {
    match seconds {
        0 => "no time at all".to_owned(),
        seconds if seconds % 86_400 == 0 && seconds > 3 * 86_400 => {
            format!("{} days", seconds / 86_400)
        }
        seconds if seconds % 3_600 == 0 => format!("{} hours", seconds / 3_600),
        seconds => format!("{} minutes", seconds.div_ceil(60)),
    }
}

impl Default for Policies {
    /// The built-in texts alone.
    fn default() -> Self {
        let built_in = BUILT_IN.iter().map(|(name, text)| {
            Policy::read(name, text, false).unwrap_or_else(|fault| unreachable!("{fault}"))
        });
        Self(built_in.collect())
    }
}

impl Policies {
    /// The built-in texts with those of the operator, given as name and text, over and beside them.
    ///
    /// # Errors
    /// The first fault of a text: its name, its length, the line of its review, its title, an unknown placeholder.
    pub fn read(own: &[(String, String)]) -> Result<Self, PolicyFault> {
        let mut all = Self::default();
        if own.len() > MOST_POLICIES {
            let (name, _) = &own[MOST_POLICIES];
            return Err(PolicyFault {
                name: name.clone(),
                line: 0,
                what: format!(
                    "it is one of {} texts, more than {MOST_POLICIES}",
                    own.len()
                ),
                remedy: "Put some of them together.".to_owned(),
            });
        }
        for (name, text) in own {
            let policy = Policy::read(name, text, true)?;
            match all.0.iter_mut().find(|other| other.name == *name) {
                Some(other) => *other = policy,
                None => all.0.push(policy),
            }
        }
        Ok(all)
    }

    /// All of them, the built-in ones first.
    pub fn all(&self) -> &[Policy] {
        &self.0
    }

    /// The one of a name.
    pub fn get(&self, name: &str) -> Option<&Policy> {
        self.0.iter().find(|policy| policy.name == name)
    }

    /// The built-in text of a name, to be edited; its first line waits for the day of the review.
    pub fn built_in(name: &str) -> Option<&'static str> {
        BUILT_IN
            .iter()
            .find(|(other, _)| *other == name)
            .map(|(_, text)| *text)
    }

    /// The names of the built-in texts.
    pub fn built_in_names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(name, _)| *name)
    }

    /// Every placeholder, with what it stands for.
    pub fn placeholders() -> impl Iterator<Item = (&'static str, &'static str)> {
        PLACEHOLDERS
            .iter()
            .map(|(name, meaning, _)| (*name, *meaning))
    }
}

impl Policy {
    /// Reads a text: `Reviewed: YYYY-MM-DD` (or `never`), a blank line, `# Title`, and what follows.
    fn read(name: &str, text: &str, own: bool) -> Result<Self, PolicyFault> {
        let fault = |line: usize, what: String, remedy: &str| PolicyFault {
            name: name.chars().take(80).collect(),
            line,
            what,
            remedy: remedy.to_owned(),
        };
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
            return Err(fault(
                0,
                "its name can be no address".to_owned(),
                "Use up to 64 lower-case letters, digits and hyphens.",
            ));
        }
        if text.len() > LONGEST_POLICY {
            return Err(fault(
                0,
                format!("it has {} bytes, more than {LONGEST_POLICY}", text.len()),
                "Say it in fewer words.",
            ));
        }
        let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
        let (first, rest) = text.split_once('\n').unwrap_or((text.as_str(), ""));
        let review = "Begin it with the line `Reviewed: YYYY-MM-DD`, the day on which somebody last read it and found it right, or `Reviewed: never`.";
        let day = first.strip_prefix("Reviewed:").map(str::trim);
        let day =
            day.ok_or_else(|| fault(1, "it does not say when it was reviewed".to_owned(), review))?;
        let reviewed = match day {
            "never" => None,
            day => Some(
                day.parse::<Date>()
                    .map_err(|_| fault(1, format!("{day:?} is no day"), review))?,
            ),
        };
        let blank = rest.len() - rest.trim_start_matches('\n').len();
        let (title, body) = rest[blank..]
            .split_once('\n')
            .unwrap_or((&rest[blank..], ""));
        let title = title
            .strip_prefix("# ")
            .map(str::trim)
            .filter(|title| !title.is_empty() && title.len() <= 120)
            .ok_or_else(|| {
                fault(
                    blank + 2,
                    "it has no title".to_owned(),
                    "After the line of the review write the title, of at most 120 bytes, as `# Title`.",
                )
            })?;
        for (number, line) in text.lines().enumerate() {
            for (place, known) in placeholders_of(line) {
                if !known {
                    let all: Vec<_> = PLACEHOLDERS.iter().map(|(name, _, _)| *name).collect();
                    return Err(fault(
                        number + 1,
                        format!("there is no placeholder {place:?}"),
                        &format!("There are: {}.", all.join(", ")),
                    ));
                }
            }
        }
        Ok(Self {
            name: name.to_owned(),
            title: title.to_owned(),
            reviewed,
            own,
            text: body.to_owned(),
        })
    }

    /// The Markdown below the title, filled.
    pub fn filled(&self, facts: &PolicyFacts<'_>) -> String {
        let mut out = String::with_capacity(self.text.len() + 256);
        let mut rest = self.text.as_str();
        while let Some((before, after)) = rest.split_once("{{") {
            out.push_str(before);
            let Some((name, after)) = after.split_once("}}") else {
                out.push_str("{{");
                rest = after;
                continue;
            };
            if let Some((_, _, fill)) = PLACEHOLDERS.iter().find(|(known, _, _)| *known == name) {
                out.push_str(&fill(facts));
            }
            rest = after;
        }
        out.push_str(rest);
        out
    }
}

/// The placeholders of a line, and whether each exists. Two braces that nothing closes are text.
fn placeholders_of(line: &str) -> impl Iterator<Item = (&str, bool)> {
    line.split("{{")
        .skip(1)
        .filter_map(|rest| rest.split_once("}}"))
        .map(|(name, _)| {
            (
                name,
                PLACEHOLDERS.iter().any(|(known, _, _)| *known == name),
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(name: &str, text: &str) -> Result<Policies, PolicyFault> {
        Policies::read(&[(name.to_owned(), text.to_owned())])
    }

    fn fault(name: &str, text: &str) -> String {
        let fault = own(name, text).unwrap_err();
        assert!(fault.remedy.ends_with('.'), "{fault:?}");
        fault.to_string()
    }

    #[test]
    fn built_in_texts_are_good_and_wait_for_their_review() {
        let all = Policies::default();
        assert_eq!(all.all().len(), BUILT_IN.len());
        for policy in all.all() {
            assert_eq!(
                (policy.reviewed, policy.own),
                (None, false),
                "{}",
                policy.name
            );
        }
        let harbour = Policies::built_in("vulnerability-disclosure").unwrap();
        assert!(harbour.contains("## Safe harbour"));
    }

    #[test]
    fn a_text_of_the_operators_takes_the_place_of_the_built_in_one_or_stands_beside_them() {
        let text = "Reviewed: 2026-02-28\n\n# House rules\n\nBe kind at {{host}}.\n";
        let all = own("acceptable-use", text).unwrap();
        assert_eq!(all.all().len(), BUILT_IN.len());
        let policy = all.get("acceptable-use").unwrap();
        assert_eq!(policy.title, "House rules");
        assert_eq!(policy.reviewed.unwrap().to_string(), "2026-02-28");
        assert!(policy.own);
        assert_eq!(
            own("privacy", text).unwrap().all().len(),
            BUILT_IN.len() + 1
        );
    }

    #[test]
    fn placeholders_are_filled_from_the_settings_that_count() {
        let mut settings = Settings::new("https://p.example.org".parse().unwrap(), "s".into());
        settings.delete = DeletePolicy::Within(std::time::Duration::from_secs(72 * 3_600));
        let recovery = RecoveryPolicy {
            proofs: 2,
            kinds: vec!["address", "owner"],
            wait_hours: 72,
            operators_for_critical: 2,
            restricted_days: 7,
        };
        let facts = |contacts| PolicyFacts {
            settings: &settings,
            recovery: &recovery,
            origin: "p.example.org/log/1",
            operator: None,
            contacts,
        };
        let contact = ["mailto:a@example.org".to_owned()];
        let text = "Reviewed: never\n# T\n{{site}}|{{operator}}|{{delete_rule}}|{{recovery_wait}}|{{contacts}}|{{ {{";
        let all = own("t", text).unwrap();
        assert_eq!(
            all.get("t").unwrap().filled(&facts(&contact)),
            "https://p.example.org|the operator of p.example.org|Owners may delete a file until 72 hours after it was published; after that only the operator deletes.|72 hours|- <mailto:a@example.org>|{{ {{"
        );
        // Every placeholder has something to say.
        for (name, _, fill) in PLACEHOLDERS {
            assert!(!fill(&facts(&[])).is_empty(), "{name}");
        }
        for policy in Policies::default().all() {
            let filled = policy.filled(&facts(&contact));
            assert!(
                !filled.contains("{{") && !filled.trim().is_empty(),
                "{}",
                policy.name
            );
        }
    }

    #[test]
    fn a_wrong_text_is_named_with_its_line_and_the_way_out() {
        for (name, text, said) in [
            ("t", "# T\n", "t.md:1: it does not say when it was reviewed"),
            (
                "t",
                "Reviewed: 2026-02-30\n# T\n",
                "t.md:1: \"2026-02-30\" is no day",
            ),
            ("t", "Reviewed: never\n\nText\n", "t.md:3: it has no title"),
            ("t", "Reviewed: never\n", "t.md:2: it has no title"),
            ("t", "", "t.md:1: it does not say when"),
            (
                "t",
                "Reviewed: never\n# T\n\n{{hots}}\n",
                "t.md:4: there is no placeholder \"hots\"",
            ),
            (
                "T",
                "Reviewed: never\n# T\n",
                "T.md: its name can be no address",
            ),
            (
                "../t",
                "Reviewed: never\n# T\n",
                "its name can be no address",
            ),
        ] {
            let found = fault(name, text);
            assert!(found.contains(said), "{found}");
        }
        assert!(fault("t", &"x".repeat(LONGEST_POLICY + 1)).contains("more than"));
        let many: Vec<_> = (0..=MOST_POLICIES)
            .map(|number| (format!("t{number}"), "Reviewed: never\n# T\n".to_owned()))
            .collect();
        assert!(Policies::read(&many).is_err());
    }
}
