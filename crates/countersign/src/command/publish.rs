//! `countersign publish`.

use countersign::actions::Runner;
use countersign::ci::{Ci, variable};
use countersign::publish::{
    Claimant, Credential, Explained, Held, Outcome, Plan, Published, Wanted, check_tag, explain,
    prepare, publish, summary,
};
use countersign::remote::Remote;
use countersign::trusted::TrustFile;
use countersign::{Failure, publisher};
use countersign_formats::Ecosystem;
use serde_json::json;

use super::{authorities, credential, interrupt, line, meant, notes, trust_path};
use crate::cli::{Common, CredentialKind, Publish};

/// Publishes, or says what would happen.
pub fn run(common: &Common, options: &Publish) -> Result<(), Failure> {
    let ci = Ci::around(&variable);
    let runner = Runner::around(ci.map(|(ci, _)| ci), &variable);
    let outcome = deed(common, options, ci, runner.as_ref());
    if let (Err(failure), Some(runner)) = (&outcome, &runner) {
        runner.annotate(failure);
    }
    outcome
}

fn deed(
    common: &Common,
    options: &Publish,
    ci: Option<(Ci, &'static str)>,
    runner: Option<&Runner>,
) -> Result<(), Failure> {
    let say = notes(common);
    let (files, aside) = prepare(&options.files, !options.no_attestations)?;
    for path in aside {
        say(&format!(
            "Passed over {}: it is no distribution.",
            path.display()
        ));
    }
    check_tag(&files, options.tag.as_deref())?;
    let trust = TrustFile::load(&trust_path(common)?)?;
    let ca = authorities(common)?;
    let url = meant(common, &trust)?;
    let remote = Remote::new(&url, None, ca.as_deref())?;
    let claimant = Claimant {
        // There is at least one, and all are of the same.
        ecosystem: files
            .first()
            .map_or(Ecosystem::Pypi, |file| file.ecosystem()),
        ci,
        id_token_file: options.id_token_file.as_deref(),
        stored: credential(&url)?,
        wanted: match options.credential {
            None => Wanted::Either,
            Some(CredentialKind::Identity) => Wanted::Identity,
            Some(CredentialKind::Token) => Wanted::Token,
        },
        variables: &variable,
    };
    let held = Held::default();
    let plan = Plan {
        remote: &remote,
        ca: ca.as_deref(),
        trust: &trust,
        skip_existing: options.skip_existing,
        tag: options.tag.as_deref(),
        runner,
        variables: &variable,
        held: &held,
        progress: !common.json,
        say: &say,
    };
    let credential = claimant.credential(&remote, &say)?;
    if options.dry_run {
        let explained = explain(&files, &credential, &claimant, &plan)?;
        return if common.json {
            line(&json!({"dry_run": explained}).to_string());
            Ok(())
        } else {
            tell_plan(&explained)
        };
    }
    if matches!(credential, Credential::Identity { .. }) {
        let held = held.clone();
        interrupt::then(move || held.give_back(&|text| eprintln!("{text}")))?;
    }
    let done = |published: &Published| {
        if !common.json {
            tell(published);
        }
    };
    let mut outcome = publish(&files, &credential, &plan, &done);
    if let Some(runner) = runner {
        // The deed is done; that its page could not be written is worth a line.
        if let Err(failure) = runner.summarise(&summary(remote.site(), &outcome)) {
            say(&format!("Warning: {}", failure.message));
        }
    }
    finish(common, &mut outcome, &remote)
}

fn finish(common: &Common, outcome: &mut Outcome, remote: &Remote) -> Result<(), Failure> {
    if common.json {
        line(&json!({"published": outcome.published, "skipped": outcome.skipped}).to_string());
    } else if outcome.published.iter().any(|file| file.verified.is_none()) {
        line(&format!(
            "The proofs were not verified: no key is pinned for this registry. Pin it: countersign trust add {}",
            remote.site()
        ));
    }
    match outcome.failure.take() {
        None => Ok(()),
        Some(mut failure) => {
            if !outcome.published.is_empty() {
                failure.message.push_str(&format!(
                    " {} of the files had been published before that; a repeated run is safe.",
                    outcome.published.len()
                ));
            }
            Err(failure)
        }
    }
}

fn tell(published: &Published) {
    let deed = if published.repeated {
        "Already published"
    } else {
        "Published"
    };
    line(&format!("{deed}: {}", published.purl));
    line(&format!(
        "    sha256:{}, {} bytes",
        published.sha256, published.size
    ));
    let state = match &published.verified {
        Some(held) => format!("proof verified, signed by {}", held.signed_by.join(", ")),
        None => "proof not verified".to_owned(),
    };
    line(&format!("    log entry {}, {state}", published.leaf));
    line(&format!("    {}", published.proof_url));
    for predicate_type in &published.attestations {
        line(&format!("    with an attestation: {predicate_type}"));
    }
    for warning in &published.warnings {
        line(&format!("    warning: {warning}"));
    }
}

fn tell_plan(explained: &Explained) -> Result<(), Failure> {
    line("Dry run: no file is sent, and no identity is exchanged.");
    line("1. Where this runs");
    match explained.ci {
        Some((ci, variable)) => line(&format!("    {ci}, since {variable} is true")),
        None => line("    not in a CI system that is known here"),
    }
    line("2. In whose name");
    line(&format!("    {}", explained.credential));
    if let Some(audience) = &explained.audience {
        line(&format!(
            "    {} wants a token for {audience}",
            explained.registry
        ));
        line("    the token's claims, as the CI system wrote them:");
        for (name, value) in &explained.claims {
            line(&format!("      {name}: {value}"));
        }
    }
    line("3. What the registry says");
    let mut refused = None;
    if explained.audience.is_none() {
        line("    the token is looked at when the first file arrives");
    } else if explained.tests.is_empty() {
        line(&format!(
            "    the token would go to {}/_/oidc/mint-token, which answers with a token of minutes, or names each claim that differs",
            explained.registry
        ));
        line("    with COUNTERSIGN_TOKEN of an owner or maintainer, it is asked what it would say");
    }
    for (project, answer) in &explained.tests {
        match answer {
            Ok(answer) => {
                let (lines, failure) = publisher::describe_test(answer)?;
                line(&format!("    {project}:"));
                for text in lines {
                    line(&format!("      {text}"));
                }
                refused = refused.or(failure);
            }
            Err(why) => line(&format!(
                "    {project}: it does not say: {}",
                why.replace('\n', "\n    ")
            )),
        }
    }
    let to = match explained.files.first().map(|file| &file["ecosystem"]) {
        Some(ecosystem) if ecosystem == "cargo" => "/cargo/api/v1/crates/new",
        Some(ecosystem) if ecosystem == "npm" => "/npm/",
        _ => "/pypi/legacy/",
    };
    line(&format!(
        "4. What would be sent to {}{to}",
        explained.registry
    ));
    for file in &explained.files {
        let text = |name: &str| file[name].as_str().unwrap_or_default().to_owned();
        line(&format!("    {}", text("purl")));
        line(&format!(
            "      {}, {} bytes, sha256:{}",
            text("file"),
            file["size"],
            text("sha256")
        ));
        let fields = match file["fields"].as_u64() {
            Some(fields) => format!(
                " ({}), {fields} form fields read from the archive",
                text("filetype")
            ),
            None => String::new(),
        };
        line(&format!(
            "      {} {}{fields}",
            text("name"),
            text("version"),
        ));
        for attestation in file["attestations"].as_array().into_iter().flatten() {
            line(&format!(
                "      with {}: {}",
                attestation["file"].as_str().unwrap_or_default(),
                attestation["predicate_type"].as_str().unwrap_or_default()
            ));
        }
        for warning in file["warnings"].as_array().into_iter().flatten() {
            line(&format!(
                "      warning: {}",
                warning.as_str().unwrap_or_default()
            ));
        }
    }
    match refused {
        None => Ok(()),
        Some(failure) => Err(failure),
    }
}
