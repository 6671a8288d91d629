//! The commands about people: accounts, their sessions and recovery, and the rules on how they sign in.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use countersign_formats::Ecosystem;
use countersign_registry::FactorNeed;

use super::{ProjectName, Stores};

/// `admin user …`
#[derive(Debug, Subcommand)]
pub enum User {
    /// Create a user and print a one-time enrolment link.
    Create {
        /// User name.
        name: String,
        /// Electronic mail address; kept in the account table alone.
        #[arg(long)]
        email: Option<String>,
        /// May do everything, on every project.
        #[arg(long)]
        operator: bool,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// List the users.
    List(Stores),
    /// Show one user: addresses, factors, sessions, tokens, projects. Never a secret.
    Show {
        /// User name.
        name: String,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Disable an account: its sessions end, its tokens and recoveries sleep. Nothing of it is lost.
    Freeze {
        /// User name.
        name: String,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Open a disabled account again.
    Unfreeze {
        /// User name.
        name: String,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Print a new enrolment link for an account that nobody can sign in to yet; older links end.
    ///
    /// Refused for an account in use: who lost every way in goes through recovery, which others can see and stop.
    Enrol {
        /// User name.
        name: String,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Mail the link that begins a recovery to the account's main proved address, as the page /recovery does.
    Recover {
        /// User name.
        name: String,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
}

/// `admin sessions …`
#[derive(Debug, Subcommand)]
pub enum Sessions {
    /// End every session of a user. Their tokens stay; see `admin token revoke` and `admin user freeze`.
    Revoke {
        /// Whose.
        #[arg(long, value_name = "NAME")]
        user: String,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
}

/// `admin recovery …`
#[derive(Debug, Subcommand)]
pub enum Recovery {
    /// List the open cases.
    List(Stores),
    /// Agree to a case in which the account owns a critical project. Two operators must; this command counts as one of
    /// them, however often it is run, the other one agrees in the operator console.
    Approve {
        /// Whose account.
        user: String,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// End a case. Everybody who was told of it is told so, with the reason.
    Refuse {
        /// Whose account.
        user: String,
        /// Why, in one line.
        #[arg(long)]
        reason: String,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
}

/// `admin policy …`
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Which factors accounts need to publish or manage.
    #[command(subcommand)]
    Factors(Factors),
}

/// The parts of the rule on factors that change; what is not given stays.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = true)]
pub struct FactorChange {
    /// What everybody with a role on a project needs: nothing, second or phishproof (a passkey or security key).
    #[arg(long, value_name = "NEED", value_parser = need)]
    pub maintainers: Option<FactorNeed>,
    /// What everybody with a role on a critical project needs: nothing, second or phishproof.
    #[arg(long, value_name = "NEED", value_parser = need)]
    pub critical: Option<FactorNeed>,
    /// So many days accounts have to comply after a change.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(0..=365))]
    pub grace_days: Option<u32>,
}

/// `admin policy factors …`
#[derive(Debug, Subcommand)]
pub enum Factors {
    /// Show the rule.
    Show(Stores),
    /// Ask for more, or sooner.
    #[command(after_help = "Example:
  countersignd admin policy factors raise --maintainers phishproof --grace-days 60")]
    Raise {
        /// What changes.
        #[command(flatten)]
        change: FactorChange,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Ask for less, or later. The public log shows it for ever as an operator's override.
    #[command(after_help = "Example:
  countersignd admin policy factors lower --maintainers nothing --reason 'training instance without mail'")]
    Lower {
        /// What changes.
        #[command(flatten)]
        change: FactorChange,
        /// Why; kept with the event.
        #[arg(long)]
        reason: String,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
}

/// `admin critical …`
#[derive(Debug, Subcommand)]
pub enum Critical {
    /// Mark a project: its people need phishing-resistant sign-in, and what can not be undone takes a passkey.
    Mark {
        /// The project.
        #[command(flatten)]
        project: ProjectName,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Take the mark away. The public log shows it as an operator's override. Use may bring it back.
    Unmark {
        /// The project.
        #[command(flatten)]
        project: ProjectName,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// List the critical projects: those that were marked, and the most used ones.
    List(Stores),
}

/// `admin breached …`
#[derive(Debug, Subcommand)]
pub enum Breached {
    /// Import a list of breached passwords for a registry that asks no service.
    ///
    /// The list has one SHA-1 in hexadecimal a line, sorted, with or without `:COUNT`, as the known services offer it.
    /// The file of the configuration (sign_in.breach_file) is replaced, or `breached` in the data directory.
    Import {
        /// The list.
        file: PathBuf,
    },
    /// Say against what passwords are held.
    Status,
}

/// `admin mail …`
#[derive(Debug, Subcommand)]
pub enum Mail {
    /// Say how mail is doing: what waits, what was given up, the last fault.
    Status(Stores),
}

/// `admin organisation …`
#[derive(Debug, Subcommand)]
pub enum Organisation {
    /// List all organisations.
    List(Stores),
    /// Show one: members, teams, projects, namespaces.
    Show {
        /// Its name.
        name: String,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// End an organisation that owns no project. Its name stays taken.
    Remove {
        /// Its name.
        name: String,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
}

/// `admin namespace …`
#[derive(Debug, Subcommand)]
pub enum Namespace {
    /// List the reserved namespaces.
    List(Stores),
    /// Reserve a name, and every name that begins with it and `-`, for an organisation.
    Reserve {
        /// ECOSYSTEM:PREFIX, or just PREFIX for pypi.
        #[arg(value_name = "PREFIX", value_parser = super::project)]
        prefix: (Ecosystem, String),
        /// The organisation.
        #[arg(long, value_name = "NAME")]
        organisation: String,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Free a namespace. Projects in it stay whose they are.
    Free {
        /// ECOSYSTEM:PREFIX, or just PREFIX for pypi.
        #[arg(value_name = "PREFIX", value_parser = super::project)]
        prefix: (Ecosystem, String),
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
}

fn need(text: &str) -> Result<FactorNeed, String> {
    match text {
        "nothing" => Ok(FactorNeed::Nothing),
        "second" => Ok(FactorNeed::Second),
        "phishproof" => Ok(FactorNeed::Phishproof),
        _ => Err("use nothing, second or phishproof".to_owned()),
    }
}
